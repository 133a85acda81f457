package images

// Recipe describes a base: a suite of a Debian-like archive.
type Recipe struct {
	// Name is what the images are called.
	Name string `json:"name"`
	// Suite is the archive's code name, such as "trixie".
	Suite string `json:"suite"`
	// MergeUsr makes /bin, /sbin and /lib links into /usr before the first package is
	// unpacked, as Debian's installer does. From bookworm on packages do it.
	MergeUsr bool `json:"mergeUsr,omitempty"`

	// mainOnly leaves out the updates and security archives. Those of a suite that
	// is out of support can list files that no mirror has. Those of a suite that is
	// not released are empty and out of date.
	mainOnly bool
}
