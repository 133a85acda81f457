package scenarios

import (
	"testing"

	"example.org/systemd-vmtest/vmtest"
)

// behaviour is what systemd does from a version on. A scenario names the behaviour that it
// depends on, and not the image.
type behaviour struct {
	since int
	what  string
}

// The behaviours in which the systemds of the images differ for a scenario.
var (
	oomFailsScope   = behaviour{252, "a scope fails if the kernel kills a process of it for lack of memory"}
	memoryPeak      = behaviour{255, "MemoryPeak"}
	notifyReload    = behaviour{253, "Type=notify-reload"}
	softReboot      = behaviour{254, "soft-reboot"}
	loadsTemplate   = behaviour{257, "a socket loads its template before it queues the job"}
	pamSkipsMissing = behaviour{257, "the PAM file of user@.service passes over a module that is not installed"}
	noInitScripts   = behaviour{260, "init scripts are no units"}
	namesLostUser   = behaviour{262, "the error about a User= that does not exist names the user"}
)

// of reports whether the guest's systemd has the behaviour.
func (b behaviour) of(g *vmtest.Guest) bool { return g.Machine.Image().SystemdMajor >= b.since }

// need skips a test about the behaviour on a systemd that does not have it.
func (b behaviour) need(t testing.TB, g *vmtest.Guest) {
	t.Helper()
	g.NeedSystemd(t, b.since, b.what)
}
