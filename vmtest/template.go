package vmtest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/inputs"
	"example.org/systemd-vmtest/vmtest/internal/memo"
)

// Template is a machine that a test package prepares once and forks for each of its
// tests: files copied in, units installed, services started. Make it a variable of
// the package:
//
//	var withEcho = vmtest.Template{
//		Name: "echo",
//		Setup: func(t testing.TB, g *vmtest.Guest) {
//			g.CopyFS(t, os.DirFS("testdata"), "/etc/systemd/system")
//			g.EnableNow(t, "demo-echo.socket")
//		},
//	}
//
//	func TestEcho(t *testing.T) {
//		g := withEcho.Start(t)
//		...
//	}
//
// Setup prepares the machine for tests, and Prepare for tests and for Launch. A template
// has one of them, or none to fork the machine that Config describes. It must not be
// copied after its first use.
//
// # What is kept
//
// A Template with a Name is prepared once for each content. The cache keeps the prepared
// machine with a record of what went into it, and a later process forks that machine if
// all of the record is unchanged. If something has changed, the machine is prepared again,
// and a line on stderr names the first change. The record has
//
//   - the test binary, and with it Setup itself, all constants and all embedded files,
//   - the image, the guest's agent and QEMU; each other Config has a machine of its own,
//   - each file and directory that Setup passed to Copy, or to CopyFS as an os.DirFS,
//     with modes and content,
//   - the sources of each InstallGo, the versions of its modules, flags, and the version of
//     Go; the executable if $VMTEST_GO_PREBUILT or a flag such as -overlay names files,
//   - each variable that Setup read by [Machine.Getenv],
//   - each path in Inputs.
//
// No record has what Setup reads in another way: files by os.ReadFile or an os.File as
// the Stdin of a command, variables by os.Getenv, flags, the time, the network, and what a
// closure captured. Name such files in Inputs, read such variables by Machine.Getenv, or
// leave Name empty. A CopyFS of a file system other than an os.DirFS, embed.FS,
// fstest.MapFS or fs.Sub of these cannot be compared, so such a machine is prepared in
// each process.
//
// All this holds for Prepare as well. Neither is called when the machine is there, so they
// should change nothing outside the machine. "vmtest snapshot" lists and removes what is
// kept.
type Template struct {
	// Name tells the template from all others of the package. If it is empty, the
	// prepared machine lives as long as the process. Two templates with one name must
	// have the same Setup or Prepare; a function that makes templates should put its
	// parameters into the name.
	Name string

	// Config describes the machine to begin with. It has no Disk.
	Config Config

	// Setup makes the changes that all tests need. It is called by Start for the first
	// test that starts a machine of an image, and with that test. If it fails the test, evidence from
	// the machine is logged, and Setup is called again for the next test. Its clean-ups
	// run at its own end.
	Setup func(testing.TB, *Guest)

	// Prepare is Setup with a context and an error. It is called once in a process at
	// most for each image. If it fails, every test fails, with evidence from that machine.
	Prepare func(context.Context, *Machine) error

	// Inputs are paths of files and directories of the host that Setup or Prepare reads
	// in a way of its own. They must exist. Symbolic links in a directory are not followed.
	Inputs []string

	prepared memo.Memo[string, forker] // by image
}

// forker makes forks of a prepared machine, and may have to prepare it again for that. The
// caller of fork holds a slot.
type forker interface {
	fork(context.Context, Config, changer) (*Machine, error)
}

// passing is the prepared machine of a template without a name.
type passing struct{ *Snapshot }

func (p passing) fork(ctx context.Context, config Config, _ changer) (*Machine, error) {
	return p.Snapshot.fork(ctx, config)
}

// Start gives a test a fork of the prepared machine, as the function Start gives it a
// machine.
func (p *Template) Start(t testing.TB) *Guest {
	t.Helper()
	skip(t)
	config, err := p.complete(p.Config.forTest(t))
	if err != nil {
		t.Fatal(err)
	}
	change := p.Prepare
	if p.Setup != nil {
		change = func(_ context.Context, m *Machine) error {
			t.Helper()
			p.setUp(t, m)
			return nil
		}
	}
	return startGuest(t, config, func(ctx context.Context, c Config) (*Machine, error) { return p.fork(ctx, c, change) })
}

// Launch returns a fork of the prepared machine. The caller closes it. A template with a
// Setup has tests only, and no Launch.
func (p *Template) Launch(ctx context.Context) (*Machine, error) {
	config, err := p.complete(p.Config)
	if err != nil {
		return nil, err
	}
	if p.Setup != nil {
		return nil, errors.New("prepare template: Launch has no test for Setup: set Prepare instead")
	}
	return launchInSlot(ctx, config, func(ctx context.Context, c Config) (*Machine, error) { return p.fork(ctx, c, p.Prepare) })
}

// complete returns config with its defaults, and an error if the template cannot be
// prepared.
func (p *Template) complete(config Config) (Config, error) {
	if p.Setup != nil && p.Prepare != nil {
		return Config{}, errors.New("prepare template: both Setup and Prepare are set: set one")
	}
	if p.Config.Disk != nil {
		return Config{}, errors.New("prepare template: a snapshot holds no disk: start a machine with Config.Disk by Start or Launch")
	}
	if len(p.Config.Networks) > 0 {
		return Config{}, errors.New("prepare template: a network is for one test: set Config.NICs, and call Join for each machine")
	}
	return config.complete()
}

// changer prepares a machine. A nil one leaves it as it is.
type changer func(context.Context, *Machine) error

// fork returns a fork. The caller holds a slot.
func (p *Template) fork(ctx context.Context, config Config, change changer) (*Machine, error) {
	prepared, err := p.prepared.Get(ctx, config.Image, func() (forker, error) {
		if p.Name != "" {
			return p.open(ctx, config, change)
		}
		m, err := change.launch(ctx, config, nil)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		s, err := m.Snapshot(ctx)
		return passing{s}, err
	})
	if err != nil {
		return nil, err
	}
	return prepared.fork(ctx, config, change)
}

// launch returns the prepared machine, and adds what goes into it to a record. The caller
// closes the machine.
func (c changer) launch(ctx context.Context, config Config, record *inputs.Record) (*Machine, error) {
	m, err := launch(ctx, config)
	if err != nil || c == nil {
		return m, err
	}
	changed := false
	defer func() {
		if !changed { // also if c ended the goroutine
			m.Close()
		}
	}()
	m.inputs = record
	if err := c(ctx, m); err != nil {
		// No test has this machine yet, so no test could log the evidence.
		return nil, fmt.Errorf("prepare template: %w\n%s", err, summarize(ctx, m))
	}
	if len(m.nics.joined()) > 0 {
		return nil, errors.New("prepare template: its machine has joined a network, which is for one test: call Join for each machine")
	}
	changed = true
	return m, nil
}
