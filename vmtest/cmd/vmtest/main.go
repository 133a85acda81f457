// Command vmtest prepares a host for package vmtest, keeps its images, and shows
// and tries units on a real systemd without a line of Go.
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
)

// The exit statuses. "vmtest run" also has those of the command that it runs.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as a shell has it after Ctrl-C
)

func main() { os.Exit(mainStatus()) }

func mainStatus() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	// A reader that has gone is then an error of Write, and guests are ended in
	// good order. Notify, not Ignore: children must not inherit it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
}

// streams are the program's own: results go to out, all else to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// statusError is an exit status of its own. Without an err it says all there is to
// say.
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
	root := newRoot(s)
	parsed := false
	root.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !parsed {
		err = usageError{err}
	}
	var status *statusError
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(s.err, "vmtest: interrupted; all guests are ended")
		return exitInterrupted
	case errors.As(err, &status) && status.err == nil:
		return status.status
	case errors.Is(err, syscall.EPIPE):
		return exitFailed // whoever read the output has seen enough
	}
	fmt.Fprintln(s.err, "vmtest:", explain(err))
	var unknown *images.UnknownImageError
	var usage usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(s.err, "see %s --help\n", cmd.CommandPath())
		return exitUsage
	case errors.As(err, &unknown):
		return exitUsage
	case status != nil:
		return status.status
	}
	return exitFailed
}

// explain renders an error for a person: of what the host lacks, one line with
// cause and cure; of what went wrong in a tool or a guest, the evidence too.
func explain(err error) string {
	text := err.Error()
	var build *images.BuildError
	if errors.As(err, &build) && build.Tail != "" {
		text += "\nthe last that " + build.Tool + " printed:"
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

The tests themselves are Go: see the package example.org/systemd-vmtest/vmtest.
This command prepares the host, keeps the guest images, and tries things out.

Exit status: 0 when all went well, 1 when not, 2 for a bad command line, 130 when
interrupted.`,
		Example: `  vmtest setup
  vmtest demo
  vmtest verify --image debian-11,debian-13 ./units`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.AddCommand(newDemo(s), newImage(s), newRun(s), newSetup(s), newSnapshot(s), newTrim(s), newVerify(s))
	return root
}

// addImageFlag adds --image.
func addImageFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "image", "", "guest image `NAME` (default $VMTEST_IMAGE, or "+images.Default+")")
}

// launch starts a guest, and shows the wait for it. The caller closes it.
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
	return vmtest.Launch(ctx, config)
}
