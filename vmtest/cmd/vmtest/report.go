package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/report"
)

// reportFlags are the flags of report.
type reportFlags struct{ html, junit, evidence string }

func newReport(s streams) *cobra.Command {
	var flags reportFlags
	cmd := &cobra.Command{
		Use:   "report [FILE.json...]",
		Short: "Write a run of go test -json as a page of HTML and as JUnit XML",
		Long: `Report reads what go test -json printed, from files or from standard input. Several files,
such as one for each image, become one report. Of what it reads from standard input, it
prints each test as it ends, and the output of those that fail.

The page shows the tests by image, their times, how long forks took, and of each failure
what was expected and seen, and its evidence: a timeline, the steps of the test, and the
guest's journal. It is one file, needs no network and no script, and has up to 100
failures and 128 KiB of each journal. It says what it leaves out.

Exit status 1 if a test or a package failed or has no end; the files are written then, too.
So they are after Ctrl-C, with the tests that had ended.`,
		Example: `  go test -json ./... | vmtest report --html report.html
  VMTEST_IMAGE=debian-12 go test -json ./... >debian-12.json
  VMTEST_IMAGE=debian-13 go test -json ./... >debian-13.json
  vmtest report --html report.html --junit junit.xml debian-12.json debian-13.json`,
		RunE: func(cmd *cobra.Command, files []string) error {
			if flags.html == "" && flags.junit == "" {
				return usageError{errors.New("report needs --html FILE or --junit FILE")}
			}
			if flags.html == flags.junit {
				return usageError{fmt.Errorf("--html and --junit are both %s", flags.html)}
			}
			r := &report.Run{Moved: flags.evidence}
			if len(files) == 0 {
				showRun(r, s.err)
			}
			ctx := cmd.Context()
			err := readRuns(ctx, r, s.in, files)
			if err == nil {
				err = writeReport(r, flags, s.out)
			}
			if ctx.Err() == nil {
				return err
			}
			interrupted := fmt.Errorf("report: %w", context.Cause(ctx))
			if errors.As(err, new(*statusError)) { // the verdict, which is printed
				return interrupted
			}
			return errors.Join(interrupted, err)
		},
	}
	cmd.Flags().StringVar(&flags.html, "html", "", "write the page to `FILE`")
	cmd.Flags().StringVar(&flags.junit, "junit", "", "write JUnit XML to `FILE`")
	cmd.Flags().StringVar(&flags.evidence, "evidence", "", "look in `DIRECTORY` for evidence that is not where the tests left it")
	return cmd
}

// readRuns reads the output of go test -json from files, or from in if there are none.
func readRuns(ctx context.Context, r *report.Run, in io.Reader, files []string) error {
	if len(files) == 0 {
		if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return usageError{errors.New("report reads go test -json: name its files, or pipe it in")}
		}
		return r.Read("standard input", untilInterrupt(ctx, in))
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = r.Read(tail.Printable(name), f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// interruptGrace is how long after a signal a report still reads: Ctrl-C also ends go test, whose
// last lines then come.
const interruptGrace = 2 * time.Second

// untilInterrupt returns what in has, up to interruptGrace after ctx has ended.
func untilInterrupt(ctx context.Context, in io.Reader) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, in)
		w.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { time.AfterFunc(interruptGrace, func() { w.Close() }) })
	return r
}

// showRun prints to w what ends, as r reads it.
func showRun(r *report.Run, w io.Writer) {
	r.TestEnded = func(t *report.Test) {
		fmt.Fprintf(w, "%s %s.%s (%.2f s)\n", t.State.Verb(), path.Base(t.Package), t.Name, t.Took.Seconds())
		if t.State >= report.Unfinished {
			fmt.Fprint(w, t.Output.String())
		}
	}
	r.PackageEnded = func(p *report.Package) { fmt.Fprint(w, p.Output.String()) }
}

// writeError reports that a report could not be written.
type writeError struct{ err error }

func (e *writeError) Error() string { return "write report: " + e.err.Error() }

func (e *writeError) Unwrap() error { return e.err }

// writeReport writes the files, and a line about the run to out.
func writeReport(r *report.Run, flags reportFlags, out io.Writer) error {
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{{flags.html, r.HTML}, {flags.junit, r.JUnit}} {
		if file.name == "" {
			continue
		}
		if err := writeWhole(file.name, file.write); err != nil {
			return &writeError{err}
		}
	}
	if _, err := fmt.Fprintln(out, r.Verdict()); err != nil {
		return err
	}
	if r.Failed() {
		return &statusError{status: exitFailed}
	}
	return nil
}

// writeWhole writes a file, which appears under its name when it is whole. What is no regular
// file, such as /dev/stdout, is written directly.
func writeWhole(name string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	info, err := os.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		return host.NoSpace(os.WriteFile(name, b.Bytes(), 0o666))
	}
	mode := fs.FileMode(0o666) // less the umask
	if err == nil {
		mode = info.Mode().Perm()
	}
	temp := fmt.Sprintf("%s.%s~", name, rand.Text())
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		at.Path = name
	}
	if err != nil {
		return host.NoSpace(err)
	}
	_, err = f.Write(b.Bytes())
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	if err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(host.NoSpace(err), os.Remove(temp))
	}
	return nil
}
