package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// public returns an error of package vm as one of this package, with its text and cause.
func TestPublicGuestError(t *testing.T) {
	cause := errors.New("not up within 3m0s")
	err := fmt.Errorf("run true: %w", &vm.GuestError{Image: "debian-13", Doing: "boot", Err: cause, Console: []string{"line"}})
	var guest *GuestError
	require.ErrorAs(t, public(err), &guest)
	assert.Equal(t, []string{"line"}, guest.Console)
	assert.EqualError(t, public(err), err.Error())
	assert.ErrorIs(t, public(err), cause)
	assert.Equal(t, public(err), public(public(err)))
	assert.Same(t, cause, public(cause))
	assert.NoError(t, public(nil))
}

func TestErrorsArePrintable(t *testing.T) {
	const evil = "\x1b]0;owned\x07bad"
	for want, err := range map[string]error{
		"signal bad":   &ExitError{ExitCode: -1, Signal: evil},
		"start x: bad": &StartError{Name: "x", Message: evil},
		"boot debian-13: bad\nthe guest printed nothing on its console":              &GuestError{Image: "debian-13", Doing: "boot", Err: errors.New(evil)},
		"wait for a.socket to be active: bad; it is bad (bad), result bad\n  | line": &UnitError{Unit: "a.socket", Want: "active", ActiveState: evil, SubState: evil, Result: evil, Journal: []string{"line"}, Err: errors.New(evil)},
	} {
		assert.EqualError(t, err, want)
	}
}

func TestStartErrorNamesProgramOnce(t *testing.T) {
	err := &StartError{Name: "/etc", Message: "fork/exec /etc: permission denied", Errno: syscall.EACCES}
	assert.EqualError(t, err, "start /etc: permission denied")
	assert.ErrorIs(t, err, fs.ErrPermission)
}

// errors.Is and errors.As find what the package documentation names.
func TestDocumentedErrors(t *testing.T) {
	m := machineHere(t)
	ctx, cancel := WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := m.Run(ctx, "sleep", "infinity")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = m.Run(t.Context(), "false")
	assert.ErrorAs(t, err, new(*ExitError))
	_, err = m.Run(t.Context(), "/no/such")
	assert.ErrorAs(t, err, new(*StartError))
	_, err = m.ReadFile(t.Context(), "/no/such")
	assert.ErrorIs(t, err, fs.ErrNotExist)

	u := m.Unit("a.service")
	m.Kill()
	m.vm.Session().Close()   // which in a guest ends with QEMU
	var calls sync.WaitGroup // each waits for events of QEMU, which the stand-in lacks
	for name, call := range map[string]func(context.Context) error{
		"start": u.Start, "stop": u.Stop, "restart": u.Restart, "reload": u.Reload,
		"kill":       func(ctx context.Context) error { return u.Kill(ctx, syscall.SIGTERM) },
		"wait":       func(ctx context.Context) error { return u.Wait(ctx, "active") },
		"show":       func(ctx context.Context) error { _, err := u.Show(ctx); return err },
		"state":      func(ctx context.Context) error { _, err := u.State(ctx); return err },
		"property":   func(ctx context.Context) error { return u.Property(ctx, "MainPID", new(int)) },
		"settled":    func(ctx context.Context) error { _, err := u.WaitSettled(ctx); return err },
		"counter":    func(ctx context.Context) error { return u.WaitProperty(ctx, "NRestarts", 1) },
		"instances":  func(ctx context.Context) error { return m.Unit("a@.service").WaitInstances(ctx, 1) },
		"status":     func(ctx context.Context) error { _, err := u.Status(ctx); return err },
		"reset":      u.ResetFailed,
		"reload all": m.DaemonReload,
		"enable":     func(ctx context.Context) error { _, err := m.EnableNow(ctx, "a.service"); return err },
		"journal":    func(ctx context.Context) error { _, err := m.WaitJournal(ctx, JournalQuery{}, nil); return err },
		"dial":       func(ctx context.Context) error { _, err := m.Dial(ctx, "tcp", "127.0.0.1:1"); return err },
		"write file": func(ctx context.Context) error { return m.WriteFile(ctx, "/no/such", nil, 0) },
	} {
		calls.Go(func() { assert.ErrorAs(t, call(t.Context()), new(*GuestError), name) })
	}
	calls.Wait()
}
