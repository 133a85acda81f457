package systemd

import (
	"regexp"
	"slices"
	"strings"
)

// propertyName matches the names of systemd's properties, org.freedesktop.systemd1(5).
var propertyName = regexp.MustCompile("^[A-Z][A-Za-z0-9]*$")

// ParseShow reads what systemctl show prints of one unit, of which the wanted
// properties, or all, were asked for. A value may itself have line feeds: a line that
// begins no property is the last one's.
func ParseShow(text string, wanted ...string) map[string]string {
	asked := strings.Split(strings.Join(wanted, ","), ",")
	values := make(map[string]string)
	last := ""
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		line = strings.TrimSuffix(line, "\n")
		name, value, ok := strings.Cut(line, "=")
		if !ok || !propertyName.MatchString(name) || len(wanted) > 0 && !slices.Contains(asked, name) {
			if last == "" {
				continue
			}
			name, value = last, line
		}
		if before, seen := values[name]; seen {
			value = before + "\n" + value
		}
		values[name], last = value, name
	}
	return values
}
