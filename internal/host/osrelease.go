package host

import "strings"

// ParseOSRelease parses the text of os-release(5), apart from shell escapes in its
// values.
func ParseOSRelease(b []byte) map[string]string {
	values := map[string]string{}
	for line := range strings.SplitSeq(string(b), "\n") {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	return values
}
