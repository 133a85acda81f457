package guest

import "strings"

const (
	// InitFailed begins the line on the console that tells why Init returned.
	InitFailed = "vmtest init: "

	// HandOver is the line that Init prints as its last act. All text before it is
	// of the kernel or of Init, because no other program has run.
	HandOver = "vmtest: the image's own init starts"
)

// InitFailure returns why Init failed, as the lines of the console show it from the
// guest's power-on to its end. It ignores lines after HandOver, because a unit can
// print the same.
func InitFailure(console []string) (cause string, failed bool) {
	for _, line := range console {
		if strings.Contains(line, HandOver) {
			return "", false
		}
		if _, cause, ok := strings.Cut(line, InitFailed); ok {
			return cause, true
		}
	}
	return "", false
}
