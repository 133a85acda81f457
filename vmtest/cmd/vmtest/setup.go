package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/internal/host"
)

func newSetup(s streams) *cobra.Command {
	var print bool
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Install what this host lacks",
		Long: `Setup installs the distribution's packages that this host lacks to build and run
guests, with sudo if it does not run as root. If nothing is missing, it does nothing
and needs no network. It also checks whether this user may build images, and prints
how to fix it if not. On distributions that do not use apt it lists what to install.`,
		Example: `  vmtest setup
  vmtest setup --print   # only show the command`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return hostSetup(s).do(cmd.Context(), print)
		},
	}
	cmd.Flags().BoolVar(&print, "print", false, "print the command instead of running it")
	return cmd
}

// setup is one call of "vmtest setup".
type setup struct {
	streams
	root    bool
	sudo    bool // is installed
	missing func() []host.Tool
	install func([]host.Tool) (i host.Installation, ok bool)
	run     func(ctx context.Context, argv []string) error
	// mayBuild returns why this user cannot build images. It needs all the tools.
	mayBuild func(context.Context) error
}

// hostSetup returns the setup of this host.
func hostSetup(s streams) setup {
	root, sudo := host.MayInstall()
	return setup{
		streams: s,
		root:    root,
		sudo:    sudo,
		missing: host.Missing,
		install: host.InstallCommand,

		mayBuild: host.CheckNamespaces,
		run: func(ctx context.Context, argv []string) error {
			cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
			cmd.Stdout, cmd.Stderr = unwrap(s.err), unwrap(s.err)
			// Without input, packages ask nothing. sudo asks at the terminal itself.
			// KILL instead of TERM would leave packages half-configured.
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
			return cmd.Run()
		},
	}
}

func (s setup) do(ctx context.Context, print bool) error {
	missing := s.missing()
	if len(missing) == 0 {
		return s.finish(ctx, "nothing is missing on this host")
	}
	for _, t := range missing {
		fmt.Fprintf(s.err, "vmtest: missing: %s (package %s), which %s\n", t.Command, t.Package, t.Why)
	}
	install, ok := s.install(missing)
	if !ok {
		return errors.New("no apt-get here: install the above with the distribution's package manager")
	}
	install = install.Sudo(s.root, s.sudo)
	if print {
		_, err := fmt.Fprintln(s.out, install)
		return err
	}
	if !s.root && !s.sudo {
		return fmt.Errorf("not root, and there is no sudo: run as root: %s", install)
	}
	return s.installAll(ctx, install)
}

// installAll refreshes the package lists, because stale ones name files that are gone, and
// installs.
func (s setup) installAll(ctx context.Context, i host.Installation) error {
	if err := s.command(ctx, i.Update); err != nil {
		if ctx.Err() != nil {
			return err
		}
		// One bad source among several fails the whole update.
		fmt.Fprintf(s.err, "vmtest: %v; going on with the package lists at hand\n", err)
	}
	if err := s.command(ctx, i.Install); err != nil {
		return fmt.Errorf("%w (its output is above; a first set-up needs a network)", err)
	}
	if left := s.missing(); len(left) > 0 {
		var names []string
		for _, t := range left {
			names = append(names, t.Command)
		}
		return fmt.Errorf("install packages: still missing: %s (look for them outside PATH)", strings.Join(names, ", "))
	}
	return s.finish(ctx, "installed; nothing is missing on this host")
}

// finish prints what remains for the user to do. That is no error, because a user who has
// an image need not build one.
func (s setup) finish(ctx context.Context, text string) error {
	if err := s.mayBuild(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		text = fmt.Sprintf("no program is missing on this host, but images cannot be built: %v", err)
	}
	fmt.Fprintln(s.err, "vmtest:", text)
	return nil
}

func (s setup) command(ctx context.Context, argv []string) error {
	line := strings.Join(argv, " ")
	fmt.Fprintln(s.err, "vmtest: running", line)
	if err := s.run(ctx, argv); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // and not the child's end by SIGTERM
		}
		return fmt.Errorf("run %s: %w", line, err)
	}
	return nil
}
