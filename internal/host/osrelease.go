package host

import "strings"

// ParseOSRelease parses the text of os-release(5).
func ParseOSRelease(b []byte) map[string]string {
	values := map[string]string{}
	for line := range strings.SplitSeq(string(b), "\n") {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && key != "" && !strings.HasPrefix(key, "#") {
			values[key] = unquote(value)
		}
	}
	return values
}

// unquote removes the quotes of a shell's word. Within double quotes a backslash
// quotes one of the shell's special characters.
func unquote(s string) string {
	if len(s) < 2 || s[0] != s[len(s)-1] {
		return s
	}
	switch inner := s[1 : len(s)-1]; s[0] {
	case '\'':
		return inner
	case '"':
		return strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\$`, `$`, "\\`", "`").Replace(inner)
	}
	return s
}
