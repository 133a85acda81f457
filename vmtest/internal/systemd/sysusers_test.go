package systemd

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSysusersFaults(t *testing.T) {
	const stderr = `Creating group 'demo' with GID 991.
[/etc/sysusers.d/bad.conf:1] Unknown command type 'x'.
/etc/sysusers.d/bad.conf:2: 'many' is not a valid home directory field.
/usr/lib/sysusers.d/b.conf:3: Conflict with earlier configuration for user 'a' in /usr/lib/sysusers.d/a.conf:1, ignoring line.
`
	assert.Equal(t, []string{
		"[/etc/sysusers.d/bad.conf:1] Unknown command type 'x'.",
		"/etc/sysusers.d/bad.conf:2: 'many' is not a valid home directory field.",
	}, SysusersFaults(stderr))
	assert.Empty(t, SysusersFaults("Creating user 'bob' (n/a) with UID 1001 and GID 1001.\n"))
}
