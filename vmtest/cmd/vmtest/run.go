package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest"
)

func newRun(s streams) *cobra.Command {
	var image images.Spec
	var user string
	cmd := &cobra.Command{
		Use:   "run [--image NAME] [--user NAME] [--] COMMAND [ARGUMENT...]",
		Short: "Run one command in a fresh guest",
		Long: `Run runs one command in a guest of its own, which is gone afterwards. The command runs
as root, or as the user of the guest that --user names.

Input and output are passed on byte for byte. On a terminal, output comes a line at a
time and without control sequences. The exit status is that of the command: 128 plus
the signal's number if a signal ended it, 127 if there is no such command, and 126 if
it could not be started. vmtest's own failures exit with 1, a wrong command line with
2, and an interrupt with 128 plus the signal's number (130 for Ctrl-C).`,
		Example: `  vmtest run systemctl --version
  vmtest run --package rpcbind rpcinfo
  vmtest run --deb ./mydaemon_1.0_amd64.deb systemctl status mydaemon
  vmtest run --image debian-12 -- sh -c 'systemctl list-sockets --no-pager | head'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCommand(cmd.Context(), s, configOf(image), vmtest.Command{Args: args, User: user})
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the command is its own
	addImageFlag(cmd, &image.Base)
	addPackageFlags(cmd, &image)
	cmd.Flags().StringVar(&user, "user", "", "name or UID of the user to run the command as (default root)")
	return cmd
}

func runCommand(ctx context.Context, s streams, config vmtest.Config, c vmtest.Command) (err error) {
	m, err := launch(ctx, s, config)
	if err != nil {
		return err
	}
	defer func() { err = closeGuest(m, err) }()
	out, flushOut := guarded(s.out)
	errOut, flushErr := guarded(s.err)
	c.Stdin, c.Stdout, c.Stderr = s.in, out, errOut
	r, err := m.Exec(ctx, c)
	err = cmp.Or(err, r.Err())
	return errors.Join(commandStatus(err), flushOut(), flushErr())
}

// guarded returns w or, if that is a terminal, a writer that drops a guest's control
// sequences. The caller calls flush after the last write.
func guarded(w io.Writer) (guarded io.Writer, flush func() error) {
	if !isTerminal(w) {
		return w, func() error { return nil }
	}
	p := &printableWriter{w: w}
	return p, p.flush
}

// commandStatus returns the program's exit status for the end of a command, as shells
// have it.
func commandStatus(err error) error {
	var exit *vmtest.ExitError
	var start *vmtest.StartError
	switch {
	case errors.As(err, &exit) && exit.Signal != "":
		return &statusError{status: 128 + int(unix.SignalNum("SIG"+exit.Signal))}
	case errors.As(err, &exit):
		return &statusError{status: exit.ExitCode}
	case errors.As(err, &start):
		status := 126
		if errors.Is(start, fs.ErrNotExist) {
			status = 127
		}
		return &statusError{status, err}
	}
	return err
}
