package vmtest

import (
	"context"
	"testing"
	"time"
)

// Advance lets d pass in the guest, in some seconds an hour: its monotonic clocks and its wall
// clock go on, as if the test had waited. Timers of systemd that count from a boot or from
// a unit (OnBootSec=, OnUnitActiveSec=), its timeouts (TimeoutStartSec=, WatchdogSec=), calendar
// timers, and a "sleep 3600" end in their order, and what they start runs before more time
// passes. When Advance returns, the last of that may still be running.
//
// Time passes while all of the guest's processors are idle. A guest that is busy gets the host's
// time only, and Advance fails when ctx ends. An hour takes some 7 s on two busy cores, and a
// day some 50 s. For more than that raise Config.OpTimeout.
//
// In a long advance a timer can be late, by 1/1800 of d and at most 10 s, so a watchdog of less
// than twice that may strike for nothing. Advance by a minute at a time to test one.
//
// What waits for the host gets no more of its time: a connection from the test to a daemon
// with an idle timeout times out.
//
// Advance works under emulation, on amd64, and was tried with QEMU 7.2. With KVM it is a
// *[HostError]. Each other call that saves or restarts the machine excludes it.
func (m *Machine) Advance(ctx context.Context, d time.Duration) error {
	return public(m.vm.Advance(ctx, d))
}

// Advance lets d pass in the guest, as Machine.Advance.
func (g *Guest) Advance(t testing.TB, d time.Duration) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.Advance(ctx, d) })
}
