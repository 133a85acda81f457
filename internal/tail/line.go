package tail

import "strings"

// LineWith returns the first line of text that contains part, without the space around
// it, or "".
func LineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
