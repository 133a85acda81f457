package vmtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/passwd"
	"example.org/systemd-vmtest/vmtest/internal/evidence"
	"example.org/systemd-vmtest/vmtest/internal/inputs"
	"example.org/systemd-vmtest/vmtest/internal/slots"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// Machine is a running guest. Its methods may be called from several goroutines. The
// caller closes it.
type Machine struct {
	vm     *vm.Machine
	config Config
	slot   *slots.Hold    // nil if the machine's test holds it
	inputs *inputs.Record // of what a template is prepared of; nil if this prepares none
	user   *passwd.User   // see AsUser; nil for the system

	nics *nics

	coverage  *coverage // of programs of InstallGo; shared by the views of AsUser
	announced *announced
	steps     *evidence.Steps // what the test did, for the evidence of its failure
	shown     *shown
}

func newMachine(m *vm.Machine, config Config) *Machine {
	return &Machine{
		vm: m, config: config, nics: connect(m), coverage: new(coverage),
		announced: new(announced), steps: new(evidence.Steps), shown: new(shown),
	}
}

// Image describes the image that the guest runs.
func (m *Machine) Image() images.Manifest { return m.vm.Spec().Files.Image.Manifest }

// Began returns when the machine was started, by a boot or a fork. Building the image,
// making the snapshot and waiting for a slot come before.
func (m *Machine) Began() time.Time { return m.vm.Began() }

// Console returns the last 256 KiB that the guest wrote to its serial console. They are
// untrusted and may hold terminal control sequences.
func (m *Machine) Console() []byte {
	data, _ := m.vm.Console().Bytes()
	return data
}

// Done returns a channel that is closed when the guest has gone, by itself or by Close, Kill or
// Snapshot. WaitEnding says how.
func (m *Machine) Done() <-chan struct{} { return m.vm.Done() }

// Close ends the guest at once, without notice to it, and gives up all that the machine
// holds on the host. Further calls do nothing.
func (m *Machine) Close() error {
	m.nics.leave()
	err := m.collectCoverage(context.Background())
	m.vm.Close()
	if m.slot == nil {
		return err
	}
	return errors.Join(err, m.slot.Release())
}

// Kill cuts the guest's power, and returns when the guest has gone. What it wrote to a
// Config.Disk stays as far as its kernel had handed it to the disk: all that was synced
// (sync(1), fsync(2)), and what the kernel wrote back by itself, which it does within some
// 30 s. The guest's memory is lost: dirty pages, file systems in RAM such as /run, and
// processes. The machine must still be closed.
func (m *Machine) Kill() {
	if err := m.collectCoverage(context.Background()); err != nil {
		m.config.notice(err.Error())
	}
	m.vm.Kill()
}

// Ending is how a guest ended, as QEMU reports it.
type Ending string

// The endings that the host can tell apart.
const (
	EndingPoweroff Ending = "poweroff" // the guest switched itself off
	EndingReboot   Ending = "reboot"   // it reset itself; what it wrote to RAM is lost
	// EndingPanic says that the guest's kernel panicked. A kernel reports that to QEMU
	// through a driver (pvpanic) that the guest loads before its systemd starts. Without
	// the driver a panic is an EndingReboot, and errors quote what the console shows.
	EndingPanic  Ending = "panic"
	EndingKilled Ending = "killed" // QEMU ended, and the guest did not ask for that
)

// WaitEnding waits until the guest has gone and returns how, at once if it has already. It does
// not close the machine.
func (m *Machine) WaitEnding(ctx context.Context) (Ending, error) {
	ending, err := m.vm.Wait(ctx)
	return Ending(ending), public(err)
}

// Reboot makes the guest reboot by systemctl and waits until its systemd is "running"
// again. What was written is lost with the RAM that it was written to, unless the machine
// has a Config.Disk. It takes as long as a cold boot. If ctx ends meanwhile, the guest may
// end.
func (m *Machine) Reboot(ctx context.Context) error {
	if err := m.reboot(ctx, m.vm.Reboot); err != nil {
		return err
	}
	return public(m.rejoin(ctx))
}

// reboot calls a reboot of some kind, and brings coverage to the host before.
func (m *Machine) reboot(ctx context.Context, how func(context.Context) error) error {
	if err := m.collectCoverage(ctx); err != nil {
		return err
	}
	if err := how(ctx); err != nil {
		return public(err)
	}
	return m.resumeCoverage(ctx)
}

// SoftReboot makes the guest's user space reboot on the same kernel (systemctl(1),
// soft-reboot; systemd 254 and later) and waits until its systemd is "running" again.
// Files stay. On an older systemd it is an error.
func (m *Machine) SoftReboot(ctx context.Context) error { return m.reboot(ctx, m.vm.SoftReboot) }

// Systemd returns a connection to the guest's systemd over D-Bus. The machine closes it.
// It ends with a daemon-reexec, a reboot and a snapshot.
func (m *Machine) Systemd(ctx context.Context) (*dbus.Conn, error) {
	conn, err := m.units().Conn(ctx)
	return conn, public(err)
}

// WaitSystemd calls look at first and after each signal of the guest's systemd, until look
// reports that it is done. It is for what the waits of a [MachineUnit] do not cover, such as
// a relation between units. look returns what it saw, for the error if ctx ends first.
func (m *Machine) WaitSystemd(ctx context.Context, look func(context.Context, *dbus.Conn) (saw string, done bool, err error)) error {
	return public(m.units().Watch(ctx, look))
}

// Systemd returns a connection to the guest's systemd over D-Bus, as Machine.Systemd.
func (g *Guest) Systemd(t testing.TB) *dbus.Conn {
	t.Helper()
	return get(t, g, g.Machine.Systemd)
}

// WaitSystemd calls look until it reports that it is done, as Machine.WaitSystemd.
func (g *Guest) WaitSystemd(t testing.TB, look func(context.Context, *dbus.Conn) (saw string, done bool, err error)) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.WaitSystemd(ctx, look) })
}
