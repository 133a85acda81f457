package vmtest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/memo"
)

// Template is a machine that a test package prepares once and forks for each of its
// tests: files copied in, units installed, services started. Make it a variable of
// the package:
//
//	var withEcho = vmtest.Template{
//		Prepare: func(ctx context.Context, m *vmtest.Machine) error {
//			if err := m.CopyFS(ctx, os.DirFS("testdata"), "/etc/systemd/system"); err != nil {
//				return err
//			}
//			return m.DaemonReload(ctx)
//		},
//	}
//
//	func TestEcho(t *testing.T) {
//		g := withEcho.Start(t)
//		...
//	}
//
// It lives as long as the process. It must not be copied after its first use.
type Template struct {
	// Config describes the machine that Prepare begins with.
	Config Config

	// Prepare makes the changes that all tests need. It is called once, when the first
	// test starts a machine. If it fails, every test fails, with evidence from that
	// machine.
	Prepare func(context.Context, *Machine) error

	prepared memo.Memo[struct{}, *Snapshot]
}

// Start gives a test a fork of the prepared machine, as the function Start gives it a
// machine.
func (p *Template) Start(t testing.TB) *Guest {
	t.Helper()
	skip(t)
	config, err := p.Config.complete()
	if err != nil {
		t.Fatal(err)
	}
	return startGuest(t, config, func(ctx context.Context) (*Machine, error) {
		s, err := p.snapshot(ctx, config)
		if err != nil {
			return nil, err
		}
		return s.fork(ctx, config)
	})
}

// Launch returns a fork of the prepared machine. The caller closes it.
func (p *Template) Launch(ctx context.Context) (*Machine, error) {
	config, err := p.Config.complete()
	if err != nil {
		return nil, err
	}
	return launchInSlot(ctx, config, func(ctx context.Context) (*Machine, error) {
		s, err := p.snapshot(ctx, config)
		if err != nil {
			return nil, err
		}
		return s.fork(ctx, config)
	})
}

// snapshot returns the prepared machine. The caller holds a slot.
func (p *Template) snapshot(ctx context.Context, config Config) (*Snapshot, error) {
	return p.prepared.Get(ctx, struct{}{}, func() (*Snapshot, error) { return p.prepare(ctx, config) })
}

func (p *Template) prepare(ctx context.Context, config Config) (*Snapshot, error) {
	if config.Disk != nil {
		return nil, errors.New("prepare template: a snapshot holds no disk: start a machine with Config.Disk by Start or Launch")
	}
	m, err := launch(ctx, config)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if p.Prepare != nil {
		if err := p.Prepare(ctx, m); err != nil {
			// No test has this machine yet, so no test could log the evidence.
			return nil, fmt.Errorf("prepare template: %w\n%s", err, evidence(ctx, m))
		}
	}
	return m.Snapshot(ctx)
}
