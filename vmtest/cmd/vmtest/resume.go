package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest"
)

// resumption is one call of "vmtest resume".
type resumption struct {
	commandRun
	again bool
}

func newResume(s streams) *cobra.Command {
	r := resumption{commandRun: commandRun{streams: s}}
	cmd := &cobra.Command{
		Use:   "resume [FLAG...] DIRECTORY [-- COMMAND [ARGUMENT...]]",
		Short: "Go on with the machine of a failed test",

		DisableFlagsInUseLine: true,
		Long: `Resume goes on with the machine of a failed test from the moment of its failure: with a
shell there, or with one command, whose exit status is that of resume, as for vmtest run.
--again runs the last command that the test began before it failed, and shows what that
printed in the test, and how it ended, next to what it does now.

DIRECTORY is the one that the last line of the test's log names, or a copy of it. It has
the machine if the test ran with VMTEST_EVIDENCE_SNAPSHOT=1. Nothing is written there, so
each resume begins at the same moment, and several may run at once. The guest's clock is
set to the current time.

It needs the same build of QEMU, and under KVM the same processor and kernel; another host
will do. QEMU loads what is in DIRECTORY: resume only directories from people you trust.`,
		Example: `  VMTEST_EVIDENCE_SNAPSHOT=1 go test -run TestMyDaemon
  vmtest resume ~/.cache/systemd-vmtest/evidence/20260102T030405.000000-TestMyDaemon-1
  vmtest resume --again DIRECTORY
  vmtest resume DIRECTORY -- journalctl -u mydaemon`,
		RunE: func(cmd *cobra.Command, args []string) error {
			dash := cmd.ArgsLenAtDash()
			switch {
			case len(args) == 0 || dash == 0:
				return usageError{errors.New("give the directory of a failed test")}
			case len(args) > 1 && dash != 1:
				return usageError{errors.New(`put "--" between the directory and the command`)}
			case r.again && len(args) > 1:
				return usageError{errors.New("--again runs the command of the test and takes no other")}
			case r.again && r.command.User != "":
				return usageError{errors.New("--again runs the command of the test as its user and takes no --user")}
			}
			r.command.Args = args[1:]
			r.tty = r.tty || len(args) == 1 && !r.again
			return r.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().BoolVar(&r.again, "again", false, "run the last command that the test began before it failed")
	cmd.Flags().BoolVarP(&r.tty, "tty", "t", false, "give the command a terminal; what the guest writes is not filtered")
	addUserFlag(cmd, &r.command.User)
	return cmd
}

func (r resumption) run(ctx context.Context, dir string) (err error) {
	if r.tty {
		if err := checkTerminal(); err != nil {
			return err
		}
	}
	f, m, err := r.resume(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	defer func() { err = closeGuest(m, err) }()
	fmt.Fprintf(r.err, "vmtest: the machine of %s on %s, as it was at %s\n",
		tail.Printable(f.Test), tail.Printable(describe(f.Image)), f.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	if r.again {
		return r.runAgain(ctx, f, m)
	}
	r.command.Stdin = r.in
	return r.inGuest(ctx, m)
}

// runAgain runs the command of a test once more.
func (r resumption) runAgain(ctx context.Context, f *vmtest.Failure, m *vmtest.Machine) error {
	if len(f.Command.Args) == 0 {
		return errors.New("the test ran no command in the guest before it failed")
	}
	r.describe(f)
	if r.command = f.Command; r.tty {
		return r.inGuest(ctx, m)
	}
	result, err := r.exec(ctx, m)
	verdict := "as in the test"
	if result.ExitCode != f.Result.ExitCode || result.Signal != f.Result.Signal {
		verdict = "unlike in the test"
	}
	fmt.Fprintf(r.err, "vmtest: now it %s, %s\n", endOf(result), verdict)
	return err
}

// resume opens the directory and starts the machine in it.
func (r resumption) resume(ctx context.Context, dir string) (*vmtest.Failure, *vmtest.Machine, error) {
	p := beginProgress(r.err, "checking and resuming the machine in "+dir)
	defer p.stop()
	f, err := vmtest.OpenFailure(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	m, err := f.Launch(ctx, vmtest.ForkConfig{Progress: p.report})
	if err != nil {
		return nil, nil, errors.Join(notUp(err), f.Close())
	}
	return f, m, nil
}

// describe prints the command of a test and what became of it there.
func (r resumption) describe(f *vmtest.Failure) {
	as := ""
	if f.Command.User != "" {
		as = " as " + f.Command.User
	}
	fmt.Fprintf(r.err, "vmtest: in the test%s: $ %s\n", tail.Printable(as), tail.Printable(f.Command.String()))
	for _, output := range [][]byte{f.Result.Stdout, f.Result.Stderr} {
		for line := range strings.Lines(string(output)) {
			fmt.Fprintf(r.err, "  | %s\n", tail.Printable(strings.TrimRight(line, "\r\n")))
		}
	}
	if len(f.Result.Stdout)+len(f.Result.Stderr) == 0 {
		fmt.Fprintln(r.err, "  (it printed nothing, or the test took its output)")
	}
	fmt.Fprintf(r.err, "vmtest: in the test it %s\n", endOf(f.Result))
	if f.Result.ExitCode == 0 && f.Result.Signal == "" {
		fmt.Fprintln(r.err, "vmtest: so this command did not fail; steps.txt has what else the test did")
	}
	if f.Input {
		fmt.Fprintln(r.err, "vmtest: it had an input there, which is not kept, and has none now")
	}
	fmt.Fprintln(r.err, "vmtest: now:")
}

// endOf returns how a command ended, as the end of a sentence.
func endOf(r vmtest.Result) string {
	took := r.Duration.Round(time.Millisecond)
	switch {
	case r.Signal != "":
		return fmt.Sprintf("was killed by SIG%s after %v", tail.Printable(r.Signal), took)
	case r.ExitCode >= 0:
		return fmt.Sprintf("exited with %d after %v", r.ExitCode, took)
	case r.Err() != nil:
		first, _, _ := strings.Cut(r.Err().Error(), "\n")
		return "had no end: " + tail.Printable(first)
	}
	return "had no end"
}
