package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

func TestExitStatus(t *testing.T) {
	live := t.Context()
	interrupted, cancel := context.WithCancelCause(t.Context())
	cancel(&interrupt{syscall.SIGINT})
	terminated, cancel := context.WithCancelCause(t.Context())
	cancel(&interrupt{syscall.SIGTERM})
	broken := &os.PathError{Op: "write", Path: "link", Err: syscall.EPIPE}
	for name, tc := range map[string]struct {
		ctx    context.Context
		err    error
		status int
		text   string
	}{
		"no error":  {live, nil, 0, ""},
		"a failure": {live, errors.New("no disk"), 1, "vmtest: no disk\n"},
		"usage":     {live, usageError{errors.New("bad flag")}, 2, "vmtest: bad flag\nsee vmtest run --help\n"},
		"the host lacks something": {live, fmt.Errorf("run it: %w", &vmtest.HostError{Cause: "no QEMU", Cure: "install it"}), 3,
			"vmtest: run it: no QEMU (install it)\n"},
		"no guest": {live, notUp(&vmtest.GuestError{Image: "mine", Doing: "boot", Err: errors.New("no init")}), 4, "vmtest: boot mine: no init\nthe guest printed nothing on its console\n"},
		"no guest, no memory": {live, notUp(&vmtest.GuestError{Image: "mine", Doing: "boot", Err: &vmtest.HostError{Cause: "no memory", Cure: "free some"}}), 3,
			"vmtest: boot mine: no memory (free some)\nthe guest printed nothing on its console\n"},
		"the command's status":   {live, errors.Join(&statusError{status: 7}, nil), 7, ""},
		"stdout is closed":       {live, fmt.Errorf("run it: %w", &outputClosedError{broken}), 1, ""},
		"a link is broken":       {live, broken, 1, "vmtest: write link: broken pipe\n"},
		"Ctrl-C":                 {interrupted, fmt.Errorf("run it: %w", context.Canceled), 130, "vmtest: interrupted; all guests are closed\n"},
		"SIGTERM":                {terminated, fmt.Errorf("run it: %w", context.Cause(terminated)), 143, "vmtest: interrupted; all guests are closed\n"},
		"failed before a signal": {interrupted, errors.New("no disk"), 1, "vmtest: no disk\n"},
		"cancelled otherwise":    {live, context.Canceled, 1, "vmtest: context canceled\n"},
		"interrupted, a guest is left": {interrupted, closeGuest(closer{errors.New("it is stuck")}, context.Canceled), 130,
			"vmtest: interrupted; close guest: it is stuck\n"},
		"a guest is left": {live, closeGuest(closer{errors.New("it is stuck")}, &statusError{status: 7}), 7,
			"vmtest: close guest: it is stuck\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			assert.Equal(t, tc.status, exitStatus(tc.ctx, tc.err, &b, "vmtest run"))
			assert.Equal(t, tc.text, b.String())
		})
	}
}

type closer struct{ err error }

func (c closer) Close() error { return c.err }

func TestCloseGuestKeepsTheError(t *testing.T) {
	boom := errors.New("boom")
	assert.Equal(t, boom, closeGuest(closer{}, boom))
	assert.NoError(t, closeGuest(closer{}, nil))
}

func TestUntilSignal(t *testing.T) {
	ctx, stop := untilSignal(syscall.SIGUSR1)
	defer stop()
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	<-ctx.Done()
	var signalled *interrupt
	require.ErrorAs(t, context.Cause(ctx), &signalled)
	assert.Equal(t, 138, signalled.status())
	assert.EqualError(t, signalled, "interrupted by SIGUSR1")
}

func TestOutputWhoseReaderIsGone(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	require.NoError(t, r.Close())
	_, err = fmt.Fprintln(output{w}, "text")
	require.ErrorAs(t, err, new(*outputClosedError))
	assert.ErrorIs(t, err, syscall.EPIPE)
	assert.Equal(t, w, unwrap(output{w}), "for child processes")
}
