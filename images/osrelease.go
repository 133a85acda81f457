package images

import "strings"

// osRelease parses os-release(5), as far as its values need no shell.
func osRelease(b []byte) map[string]string {
	values := map[string]string{}
	for line := range strings.SplitSeq(string(b), "\n") {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	return values
}
