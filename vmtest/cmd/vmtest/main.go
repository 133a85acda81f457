// As an agent, it does not follow the version of Go in the go.mod of the module that
// builds it.
//go:debug default=go1.26

// Command vmtest prepares a host for package vmtest, manages its images and snapshots, and
// runs and verifies units on a real systemd without a line of Go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/internal/guest"
)

// The exit statuses. run, shell, exec and resume also exit with that of the command that they run.
const (
	exitFailed = 1 // a command, a check or vmtest itself
	exitUsage  = 2 // a wrong command line
	exitHost   = 3 // the host lacks something
	exitGuest  = 4 // a guest did not come up
)

func main() {
	if guest.Started() { // in a guest, whose agent could not be built
		os.Exit(guest.Main())
	}
	os.Exit(mainStatus())
}

func mainStatus() int {
	ctx, stop := untilSignal(syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// If a reader goes, Write then returns an error, and guests are closed as usual.
	// Notify, not Ignore, because children must not inherit it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
}

// streams are the program's standard streams. Results go to out, and all else to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is an error of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// statusError is an exit status, and the error behind it. If err is nil, there is nothing
// to print.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

// run runs the command line and returns the exit status.
func run(ctx context.Context, args []string, s streams) int {
	s.out, s.err = output{s.out}, output{s.err}
	root := newRoot(s)
	parsed := false
	root.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !parsed {
		err = usageError{err}
	}
	return exitStatus(ctx, err, s.err, cmd.CommandPath())
}

// exitStatus prints the error of a command to w, and returns the exit status.
func exitStatus(ctx context.Context, err error, w io.Writer, command string) int {
	var signalled *interrupt
	var status *statusError
	var closed *outputClosedError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &signalled):
		fmt.Fprintln(w, "vmtest:", explainInterrupt(err))
		return signalled.status()
	case errors.As(err, &status) && status.err == nil:
		return status.status
	case errors.As(err, &closed):
		return exitFailed
	}
	fmt.Fprintln(w, "vmtest:", explain(err))
	var unknown *images.UnknownImageError
	var spec *images.SpecError
	var usage usageError
	var lacking *vmtest.HostError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(w, "see %s --help\n", command)
		return exitUsage
	case errors.As(err, &unknown) || errors.As(err, &spec):
		return exitUsage
	case status != nil:
		return status.status
	case errors.As(err, &lacking):
		return exitHost
	}
	return exitFailed
}

// explain returns the text of an error for a person. For a build that failed, it adds the
// last output of the tool.
func explain(err error) string {
	text := err.Error()
	var build *images.BuildError
	if errors.As(err, &build) && build.Tail != "" {
		text += "\nthe last output of " + build.Tool + ":"
		for line := range strings.Lines(build.Tail) {
			text += "\n  | " + strings.TrimRight(line, "\r\n")
		}
	}
	return tail.Printable(text)
}

func newRoot(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "vmtest",
		Short: "Test systemd units on a real systemd, in a QEMU VM",
		Long: `vmtest tests systemd units on a real systemd, in a QEMU VM.

The tests themselves are written in Go, with the package
example.org/systemd-vmtest/vmtest. This command prepares the host, manages guest images
and snapshots, and runs commands and verifies units in a guest.

Exit status:
  0    success
  1    failure: a check or a command failed, or vmtest itself
  2    wrong command line
  3    this host lacks something, which "vmtest doctor" explains
  4    a guest did not come up
  130  Ctrl-C; another signal's number plus 128
run, shell, exec and resume exit with the status of the command that they run.

Environment (go doc example.org/systemd-vmtest/vmtest has all):
  VMTEST_IMAGE      image of commands without --image
  VMTEST_CACHE      absolute path of the directory for images and snapshots
  VMTEST_MIRROR     mirror to build images from
  VMTEST_ACCEL      kvm, tcg, or auto, the default: KVM where it runs the image's kernel
  VMTEST_SLOTS      how many guests run at once; default one per core
  VMTEST_UNTRIMMED  1 boots guests with all that "vmtest trim" lists
  VMTEST_EVIDENCE   absolute path of the directory for what failed tests leave

Only results go to standard output. Progress and errors go to standard error. Colours
are for terminals, and not if NO_COLOR is set.`,
		Example: `  vmtest setup                     # install what this host lacks
  vmtest demo                      # show socket activation, step by step
  vmtest doctor                    # check this host
  vmtest run systemctl --version   # run a command in a fresh guest
  vmtest shell                     # look around in one
  vmtest resume DIRECTORY          # go on with the machine of a failed test
  vmtest verify --image debian-11,debian-13 ./units
  vmtest snapshot prune --limit 1000`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Version:           version(),
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}, // see newCompletion
	}
	root.SetVersionTemplate("vmtest {{.Version}}\n")
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.AddCommand(newCompletion(), newDemo(s), newDoctor(s), newExec(s), newImage(s), newMan(), newRelease(s), newReport(s),
		newResume(s), newRun(s), newSetup(s), newShell(s), newSnapshot(s), newSSHConfig(s), newSSHProxy(s), newTrim(s), newVerify(s))
	return root
}

// launch starts a guest and shows progress meanwhile. The caller closes the guest.
func launch(ctx context.Context, s streams, config vmtest.Config) (*vmtest.Machine, error) {
	name := config.Image
	if name == "" {
		name = "the guest"
	}
	doing := "starting " + name
	if config.ColdBoot {
		doing = "booting " + name
	}
	p := beginProgress(s.err, doing)
	defer p.stop()
	config.Progress = p.report
	m, err := vmtest.Launch(ctx, config)
	return m, notUp(err)
}

// notUp adds the exit status to the error of a guest that did not come up, unless the host
// is the reason.
func notUp(err error) error {
	if errors.As(err, new(*vmtest.GuestError)) && !errors.As(err, new(*vmtest.HostError)) {
		return &statusError{exitGuest, err}
	}
	return err
}
