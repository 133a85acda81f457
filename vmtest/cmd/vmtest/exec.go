package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest"
)

// testRun is one call of "vmtest exec".
type testRun struct {
	commandRun
	image   string
	env     []string // the flags: NAME, or NAME=VALUE
	exclude []string // patterns
	dir     string   // working directory, on the host and in the guest
	binary  string   // absolute path, on the host and in the guest
	flags   testFlags
}

func newExec(s streams) *cobra.Command {
	e := testRun{commandRun: commandRun{streams: s}}
	var files guestFiles
	cmd := &cobra.Command{
		Use:   "exec [FLAG...] [--] PROGRAM [ARGUMENT...]",
		Short: "Run a test binary in a fresh guest, for go test -exec",

		DisableFlagsInUseLine: true,
		Long: `Exec runs a program of this host in a guest of its own, which is gone afterwards. It is
for go test -exec. Tests that need root, mounts, cgroups or a systemd of their own then
run as root, in a fork for each package.

The program and the working directory, which for go test is that of the package, are at
the same paths in the guest as here, without .git and at most 256 MiB; --with adds what
is elsewhere. Only the files that go test's flags name are copied back: profiles, coverage,
traces, artifacts, and inputs that fuzzing found.

Of this host's environment the program gets only GODEBUG, GOGC, GOMAXPROCS, GOMEMLIMIT,
GORACE and GOTRACEBACK, and what --env names. VMTEST_GUEST is the name of the image, so
that a test can skip where it is not set; tests that start machines skip where it is set.
Standard input is empty.

The guest is ended half a minute after -test.timeout. go test -timeout also counts the
time until the guest is up, and go test gives that a minute. go test caches no results
with -exec. A guest has no C compiler and often an older C library: if a test binary
needs what the guest lacks, CGO_ENABLED=0 makes one that needs nothing.

The exit status is that of the program, as with vmtest run.`,
		Example: `  go test -exec 'vmtest exec' ./...
  go test -exec 'go tool vmtest exec' ./...   # where vmtest is a tool of the module
  go test -exec 'vmtest exec --image debian-12 --package nftables' -cover ./firewall
  go test -exec 'vmtest exec --env UPDATE=1 --with ../testdata:/srv/testdata' .`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if e.extra, e.units, err = files.find(); err != nil {
				return err
			}
			for _, pattern := range e.exclude {
				if _, err := filepath.Match(pattern, ""); err != nil {
					return usageError{fmt.Errorf("--exclude %q: %w", pattern, err)}
				}
			}
			if e.dir, err = os.Getwd(); err != nil {
				return err
			}
			if e.binary, err = filepath.Abs(args[0]); err != nil {
				return err
			}
			e.flags = parseTestFlags(e.dir, args[1:])
			e.command.Args = append([]string{e.binary}, args[1:]...)
			ctx, stop := whileGoTest(cmd.Context(), e.flags.goTest)
			defer stop()
			return e.run(ctx)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the program is its own
	addImageFlag(cmd, &e.image)
	addPackageFlags(cmd, &e.added)
	files.addFlags(cmd)
	addUserFlag(cmd, &e.command.User)
	cmd.Flags().StringArrayVar(&e.env, "env", nil, "pass on the variable `NAME`, or set NAME=VALUE; may be given several times")
	cmd.Flags().StringArrayVar(&e.exclude, "exclude", nil, "leave out files of the working directory whose path there or name matches `PATTERN`; may be given several times")
	return cmd
}

// overtime is how long a test binary may take after its -test.timeout. go test waits a minute.
const overtime = 30 * time.Second

// overtimeError reports that a test binary did not end by itself.
type overtimeError struct{ limit time.Duration }

func (e overtimeError) Error() string {
	return fmt.Sprintf("it did not end within -test.timeout=%v, nor in %v more", e.limit, overtime)
}

// Is reports whether target is context.DeadlineExceeded.
func (overtimeError) Is(target error) bool { return target == context.DeadlineExceeded }

func (e testRun) run(ctx context.Context) (err error) {
	program, err := readProgram(e.binary)
	if err != nil {
		return err
	}
	files, outside, err := filesBelow(e.dir, e.exclude)
	if err != nil {
		return err
	}
	if len(outside) > 0 {
		fmt.Fprintf(e.err, "vmtest: these links lead out of %s, and the guest may lack what they name (--with): %s\n",
			e.dir, tail.Printable(strings.Join(outside, ", ")))
	}
	names, err := imagesOf(slices.DeleteFunc([]string{e.image}, func(s string) bool { return s == "" }))
	if err != nil {
		return err
	}
	e.added.Base = names[0]
	m, err := launch(ctx, e.streams, configOf(e.added))
	if err != nil {
		return err
	}
	defer func() { err = closeGuest(m, err) }()
	if err := program.checkArch(m.Image().Arch); err != nil {
		return err
	}
	if err := e.copyIn(ctx, m, files); err != nil {
		return err
	}
	if err := program.checkLibraries(ctx, m); err != nil {
		return err
	}
	status := e.exec(ctx, m)
	if status != nil && !errors.As(status, new(*statusError)) {
		return status // no end of the program is known, so its files are in no known state
	}
	return withStatus(status, e.copyOut(ctx, m))
}

// copyIn copies the working directory, the program and all else, and makes the directories
// that the program writes to.
func (e testRun) copyIn(ctx context.Context, m *vmtest.Machine, files fs.FS) error {
	if err := m.CopyFS(ctx, files, e.dir); err != nil {
		return err
	}
	for _, dir := range e.flags.directories() {
		if err := m.CopyFS(ctx, emptyDir{}, dir); err != nil {
			return err
		}
	}
	inputs, err := e.flags.inputs()
	if err != nil {
		return err
	}
	for _, path := range inputs {
		if err := m.Copy(ctx, path, path); err != nil {
			return err
		}
	}
	if err := m.Copy(ctx, e.binary, e.binary); err != nil {
		return err
	}
	return e.copyTo(ctx, m)
}

// exec runs the program and returns its exit status.
func (e testRun) exec(ctx context.Context, m *vmtest.Machine) error {
	if limit := e.flags.timeout; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit+overtime, overtimeError{limit})
		defer cancel()
	}
	out, flushOut := guarded(e.out)
	errOut, flushErr := out, func() error { return nil }
	if !sameStream(e.out, e.err) {
		errOut, flushErr = guarded(e.err)
	}
	c := e.command
	c.Dir, c.Stdout, c.Stderr = e.dir, out, errOut
	c.Env = e.environment(m.Image().Name)
	result, err := m.Exec(ctx, c)
	err = cmp.Or(err, result.Err())
	return withStatus(commandStatus(err), flushOut(), flushErr())
}

// withStatus adds errors to that of a command, so that the exit status stays the command's and
// all others are printed.
func withStatus(status error, others ...error) error {
	other := errors.Join(others...)
	ended, ok := status.(*statusError)
	switch {
	case other == nil:
		return status
	case ok:
		return &statusError{ended.status, errors.Join(ended.err, other)}
	}
	return errors.Join(status, other)
}

// sameStream reports whether two streams are the same file, as with go test, so that the order
// of what is written to both can be kept.
func sameStream(a, b io.Writer) bool {
	fa, okA := unwrap(a).(*os.File)
	fb, okB := unwrap(b).(*os.File)
	if !okA || !okB {
		return false
	}
	infoA, errA := fa.Stat()
	infoB, errB := fb.Stat()
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// passed are the variables of Go's runtime, which a person sets for one run.
var passed = []string{"GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GORACE", "GOTRACEBACK"}

// environment returns what the program's environment has besides the guest's own.
func (e testRun) environment(image string) []string {
	env := []string{"VMTEST_GUEST=" + image, "PWD=" + e.dir}
	if dir := e.flags.coverDir; dir != "" {
		env = append(env, "GOCOVERDIR="+dir) // as go test does
	}
	for _, entry := range slices.Concat(passed, e.env) {
		if strings.Contains(entry, "=") {
			env = append(env, entry)
		} else if value, ok := os.LookupEnv(entry); ok {
			env = append(env, entry+"="+value)
		}
	}
	return env
}

// copyOut brings the files that the program wrote to where its flags say.
func (e testRun) copyOut(ctx context.Context, m *vmtest.Machine) (err error) {
	results, err := e.flags.results(e.dir)
	for _, path := range results {
		switch errCopy := m.CopyOut(ctx, path, path); {
		case errors.Is(errCopy, fs.ErrNotExist): // the program has not written it, or the host has no such directory
			if _, errDir := os.Stat(filepath.Dir(path)); errDir != nil {
				err = errors.Join(err, errDir)
			}
		case errors.Is(errCopy, errors.ErrUnsupported):
			fmt.Fprintln(e.err, "vmtest:", explain(errCopy))
		default:
			err = errors.Join(err, errCopy)
		}
	}
	if dir := e.flags.newInputs; dir != "" && os.Remove(dir) == nil { // it is empty
		_ = os.Remove(filepath.Dir(dir))
	}
	return err
}
