// Package row describes the rows of the conformance table, which tests write as an
// attribute of theirs and the command table reads.
package row

// Key is the key of the attribute (testing.T.Attr). Its value is a Cell as JSON.
const Key = "conformance"

// Row is a behaviour of systemd.
type Row struct {
	ID    string
	Claim string // one sentence without a full stop
	Since int    // the version of systemd that brought it; 0 is before 247
	See   string // man page and directive, or an issue, such as "systemd.socket(5) Backlog=" or "#37469"
}

// Cell is what a test saw of a row on one image.
type Cell struct {
	Row
	Test    string // FILE:FUNCTION, below scenarios/conformance
	Image   string
	Systemd int
	Absent  bool     // the version is older than Since
	Differs []string // what was seen instead of the claim; none if it holds
}
