package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/internal/held"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/terminal"
)

// attachWait bounds the wait for the holder of a machine and its guest.
const attachWait = 30 * time.Second

// attached runs the command in a machine that another process holds.
func (r commandRun) attached(cmd *cobra.Command, name string) error {
	if err := checkAttached(cmd); err != nil {
		return err
	}
	ctx := cmd.Context()
	if r.tty {
		if err := checkTerminal(); err != nil {
			return err
		}
	}
	info, err := held.Find(name)
	if err != nil {
		return err
	}
	session, err := attach(ctx, info)
	if err != nil {
		return err
	}
	defer session.Close()
	c := link.Command{Args: r.command.Args, User: r.command.User, Stdin: r.in}
	if r.tty {
		fmt.Fprintf(r.err, "vmtest: a terminal of %s, %s, whose output is not filtered; if it hangs, type Enter ~ .\n", info.Name, info.Image)
		err = atTerminal(ctx, session, c)
	} else {
		out, flushOut := guarded(r.out)
		errOut, flushErr := guarded(r.err)
		c.Stdout, c.Stderr = out, errOut
		err = errors.Join(session.Exec(ctx, c), flushOut(), flushErr())
	}
	switch {
	case errors.Is(err, terminal.ErrLeft):
		err = terminal.ErrLeft
	case errors.Is(err, link.ErrLost):
		return fmt.Errorf("connection to %s lost: %w", info.Name, err)
	}
	if r.tty && info.Waiting {
		fmt.Fprintf(r.err, "vmtest: %s is still kept; \"vmtest release %[1]s\" ends it\n", info.Name)
	}
	return attachedStatus(err)
}

// runAttached is attached for a command that the name of a machine may precede.
func (r commandRun) runAttached(cmd *cobra.Command, args []string) error {
	if err := checkAttached(cmd); err != nil {
		return err
	}
	name, command, err := held.Split(args)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		return usageError{fmt.Errorf("no command for %s", name)}
	}
	r.command.Args = command
	return r.attached(cmd, name)
}

// attach returns a session with the agent of a machine that is held. The caller closes it.
func attach(ctx context.Context, info held.Info) (*link.Client, error) {
	ctx, cancel := vmtest.WithTimeout(ctx, attachWait)
	defer cancel()
	conn, err := held.Connect(ctx, info.Dir)
	if err != nil {
		return nil, err
	}
	session, err := link.Dial(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", info.Name, err)
	}
	return session, nil
}

// atTerminal runs a command with the terminal of this process.
func atTerminal(ctx context.Context, session *link.Client, c link.Command) (err error) {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	tty, err := terminal.Open("/dev/tty", leave)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tty.Close()) }()
	if len(c.Args) == 0 {
		c.Args = terminal.LoginShell
	}
	c.Stdin, c.Stdout, c.Stderr, c.Terminal = tty, tty, tty, &tty.Terminal
	return session.Exec(ctx, c)
}

// attachedStatus is commandStatus for the errors of package link.
func attachedStatus(err error) error {
	if exit, ok := errors.AsType[*link.ExitError](err); ok {
		return commandStatus((*vmtest.ExitError)(exit))
	}
	if start, ok := errors.AsType[*link.StartError](err); ok {
		return commandStatus((*vmtest.StartError)(start))
	}
	return err
}

// checkAttached returns an error if a flag that describes a fresh guest comes with --attach.
func checkAttached(cmd *cobra.Command) error {
	for _, name := range []string{"image", "package", "deb", "no-autostart", "with", "units"} {
		if cmd.Flags().Changed(name) {
			return usageError{fmt.Errorf("--%s is for a fresh guest, and --attach for one that is held", name)}
		}
	}
	return nil
}

// completeHeld completes the name of a machine that is held.
func completeHeld(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	all, _ := held.List() // without a cache there is no name to complete
	var names []cobra.Completion
	for _, info := range all {
		names = append(names, cobra.CompletionWithDesc(info.Name, info.Image))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeAttached completes the words of a command that has the flag --attach.
func completeAttached(attached *bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if *attached {
			return completeHeld(cmd, args, typed)
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
}

// firstOf returns the first of args, or "" if there is none.
func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
