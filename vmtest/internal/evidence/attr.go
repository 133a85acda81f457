package evidence

// The keys of what a test says about its guests through testing.TB.Attr, which go test -json
// prints, so that a report has it of tests that passed, too.
const (
	AttrImage    = "vmtest.image"    // the name of the image that the test is to have
	AttrMachine  = "vmtest.machine"  // a Machine as JSON, when it is ready
	AttrEvidence = "vmtest.evidence" // the path of a Directory
)

// Guest names what a guest ran.
type Guest struct {
	Image   string `json:"image"`           // its name, without what was added to it
	Title   string `json:"title,omitempty"` // the name with that, if it differs
	Systemd string `json:"systemd"`         // version of the package
	Kernel  string `json:"kernel"`          // as uname -r prints
	Accel   string `json:"accel"`           // "kvm" or "tcg"
}

// Machine says how a test got a guest.
type Machine struct {
	Guest
	Cold   bool    `json:"cold,omitempty"` // it booted; the others are forks
	Queued float64 `json:"queued"`         // seconds that the test waited for its slot
	Ready  float64 `json:"ready"`          // seconds from QEMU's start until a test could use it
}
