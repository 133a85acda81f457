package systemd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCheckUnitName(t *testing.T) {
	for _, good := range []string{"a.service", "-.mount", "-x.service", "a@.service", "a@b.socket", `dev-disk-by\x2duuid.device`, "a:b_c.timer", "a.b.path", "system-x.slice"} {
		assert.NoError(t, CheckUnitName(good), good)
	}
	for bad, want := range map[string]string{
		"":                                    `unit name is empty`,
		"demo":                                `unit name "demo" has no type such as .service (systemd.unit(5))`,
		"demo.conf":                           `unit name "demo.conf" has no type such as .service (systemd.unit(5))`,
		"demo*":                               `unit name "demo*" is a pattern`,
		"demo[0-9].service":                   `unit name "demo[0-9].service" is a pattern`,
		"/etc/a.service":                      `unit name "/etc/a.service" is a path`,
		".service":                            `unit name ".service" has nothing before its type`,
		"@a.service":                          `unit name "@a.service" has nothing before its type`,
		"a b.service":                         `unit name "a b.service" has a character that names cannot have: ' '; see systemd-escape(1)`,
		"é.service":                           `unit name "é.service" has a character that names cannot have: 'é'; see systemd-escape(1)`,
		"--help":                              `unit name "--help" has no type such as .service (systemd.unit(5))`,
		"a\n.service":                         `unit name "a\n.service" has a character that names cannot have: '\n'; see systemd-escape(1)`,
		strings.Repeat("a", 255) + ".service": `unit name "` + strings.Repeat("a", 40) + `"... has more than 255 bytes`,
	} {
		assert.EqualError(t, CheckUnitName(bad), want)
	}
}
