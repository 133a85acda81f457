package scenarios

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A wait for a guest that goes away reports that, and not the error of D-Bus.
func TestWaitForAGuestThatGoes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, ends, want string }{
		{"agent", "systemctl kill --signal=KILL vmtest-agent.service", "closed the link"},
		{"guest", "systemctl poweroff --force --force", "the guest powered off"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := vmtest.Start(t, vmtest.Config{})
			// Later, so that it happens during the wait and not before it.
			g.Run(t, "systemd-run", "--on-active=1s", "sh", "-c", test.ends)
			err := g.Machine.Unit("multi-user.target").Wait(t.Context(), "inactive")
			var gone *vmtest.GuestError
			require.ErrorAs(t, err, &gone)
			assert.ErrorContains(t, err, test.want)
		})
	}
}

// systemd signals a change of a unit under its own name alone.
func TestWaitByAlias(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/alias")
	g.EnableNow(t, "demo-real.service")
	g.Unit("demo-alias.service").Wait(t, "active")
	// Later, so that the wait has looked by then and needs the signal.
	g.Run(t, "sh", "-c", "(sleep 1; echo >/run/demo-real) >/dev/null 2>&1 &")
	ctx, cancel := vmtest.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	assert.NoError(t, g.Machine.Unit("demo-alias.service").Wait(ctx, "inactive"))
}
