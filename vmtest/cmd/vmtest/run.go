package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest"
)

// commandRun is one call of "vmtest run".
type commandRun struct {
	streams
	images  []string    // none is those of $VMTEST_IMAGE
	added   images.Spec // to each image
	extra   []extraFile
	units   []unitSet
	command vmtest.Command
	tty     bool // run it with this process's terminal
}

func newRun(s streams) *cobra.Command {
	r := commandRun{streams: s}
	var files guestFiles
	var attached bool
	cmd := &cobra.Command{
		Use: "run [FLAG...] [--] COMMAND [ARGUMENT...]\n" +
			"  vmtest run --attach [-t] [--user NAME] [--] [MACHINE] COMMAND [ARGUMENT...]",
		Short: "Run one command in a fresh guest",

		DisableFlagsInUseLine: true,
		Long: `Run runs one command in a guest of its own, which is gone afterwards. The command runs
as root, or as the user of the guest that --user names. With --units and --with, files of
the host are in the guest before; units are loaded, not started.

Input and output are passed on byte for byte. On a terminal, output comes a line at a
time and without control sequences. The exit status is that of the command: 128 plus
the signal's number if a signal ended it, 127 if there is no such command, and 126 if
it could not be started. vmtest's own exit statuses are listed by vmtest --help.

With several images, the command runs in a guest of each, one after the other, without
input, and a line on standard error names the guest. The exit status is the first that
is not 0.

-t gives the command a terminal of the guest, as vmtest shell does. --attach runs it in a
machine that another process holds, as vmtest shell --attach does. MACHINE may be left out
if only one machine is held.`,
		Example: `  vmtest run systemctl --version
  vmtest run --package rpcbind rpcinfo
  vmtest run --deb ./mydaemon_1.0_amd64.deb systemctl status mydaemon
  vmtest run --units ./units --with ./mydaemon:/usr/local/bin/mydaemon systemctl start mydaemon
  vmtest run -t systemd-cgtop
  vmtest run --attach TestMyDaemon systemctl --failed
  vmtest run --image debian-11,debian-12 -- sh -c 'systemctl list-sockets --no-pager | head'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if r.command.Args = args; r.tty && len(r.images) > 1 {
				return usageError{errors.New("-t takes one image")}
			}
			if attached {
				return r.runAttached(cmd, args)
			}
			if r.extra, r.units, err = files.find(); err != nil {
				return err
			}
			return r.run(cmd.Context())
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the command is its own
	addImagesFlag(cmd, &r.images)
	addPackageFlags(cmd, &r.added)
	files.addFlags(cmd)
	addUserFlag(cmd, &r.command.User)
	cmd.Flags().BoolVar(&attached, "attach", false, "run the command in a machine that is held, instead of a fresh guest")
	cmd.ValidArgsFunction = completeAttached(&attached)
	cmd.Flags().BoolVarP(&r.tty, "tty", "t", false, "give the command a terminal; what the guest writes is not filtered")
	return cmd
}

// run runs the command on each image.
func (r commandRun) run(ctx context.Context) error {
	names, err := imagesOf(r.images)
	if err != nil {
		return err
	}
	if r.tty {
		if err := checkTerminal(); err != nil {
			return err
		}
	}
	if len(names) == 1 || r.tty { // a terminal has one guest, the first of $VMTEST_IMAGE
		r.command.Stdin = r.in
		return r.one(ctx, names[0], func(*vmtest.Machine) {})
	}
	return onEach(r.err, names, func(name string) error {
		return r.one(ctx, name, func(m *vmtest.Machine) { fmt.Fprintf(r.err, "vmtest: on %s:\n", describe(m.Image())) })
	})
}

// onEach calls run with each image, and prints an error as it comes. It goes on after a command
// that failed and after a guest that did not come up, and returns the first status that is not
// 0. Any other error ends it.
func onEach(w io.Writer, names []string, run func(name string) error) error {
	first := 0
	for _, name := range names {
		err := run(name)
		var status *statusError
		switch {
		case err == nil:
			continue
		case !errors.As(err, &status):
			return err
		case status.err != nil:
			fmt.Fprintf(w, "vmtest: on %s: %s\n", cmp.Or(name, images.Default), explain(err))
		}
		first = cmp.Or(first, status.status)
	}
	if first == 0 {
		return nil
	}
	return &statusError{status: first}
}

// one runs the command in a guest of its own. It calls began before that.
func (r commandRun) one(ctx context.Context, image string, began func(*vmtest.Machine)) (err error) {
	r.added.Base = image
	m, err := launch(ctx, r.streams, configOf(r.added))
	if err != nil {
		return err
	}
	defer func() { err = closeGuest(m, err) }()
	if err := r.copyTo(ctx, m); err != nil {
		return err
	}
	began(m)
	return r.inGuest(ctx, m)
}

// inGuest runs the command in a guest.
func (r commandRun) inGuest(ctx context.Context, m *vmtest.Machine) error {
	if r.tty {
		fmt.Fprintf(r.err, "vmtest: a terminal of %s, whose output is not filtered; if it hangs, type Enter ~ .\n", describe(m.Image()))
		result, err := m.Shell(ctx, r.command)
		if errors.Is(err, vmtest.ErrShellLeft) {
			return vmtest.ErrShellLeft
		}
		return commandStatus(cmp.Or(err, result.Err()))
	}
	_, err := r.exec(ctx, m)
	return err
}

// exec runs the command in a guest without a terminal of its own.
func (r commandRun) exec(ctx context.Context, m *vmtest.Machine) (vmtest.Result, error) {
	out, flushOut := guarded(r.out)
	errOut, flushErr := guarded(r.err)
	r.command.Stdout, r.command.Stderr = out, errOut
	result, err := m.Exec(ctx, r.command)
	err = cmp.Or(err, result.Err())
	return result, errors.Join(commandStatus(err), flushOut(), flushErr())
}

// copyTo copies the files and units into the guest, and loads the units.
func (r commandRun) copyTo(ctx context.Context, m *vmtest.Machine) error {
	if err := copyFiles(ctx, m, r.extra); err != nil {
		return err
	}
	for _, set := range r.units {
		if err := set.copyTo(ctx, m); err != nil {
			return err
		}
	}
	if len(r.units) == 0 {
		return nil
	}
	return m.DaemonReload(ctx)
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
