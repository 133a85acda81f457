// Faults puts small wrong changes into the module, one at a time, and runs for each the test
// that must catch it, on a copy. See --help.
//
// A fault is a file DIRECTORY/NAME.fault beside this one. Its first line says what is wrong.
// Then come the package and the test that must catch it, a regular expression that the
// message of the test must match (https://pkg.go.dev/regexp/syntax), and the lines that
// become others. An empty line ends a block; lines that stay begin with a space:
//
//	The socket listens on all addresses.
//	test: ./scenarios ^TestEchoUnits$/^idle$
//	message: Listen=0\.0\.0\.0:9091
//	--- echo/units/idle/demo-echo.socket
//	-ListenStream=127.0.0.1:9091
//	+ListenStream=0.0.0.0:9091
//
// The lines of a block must occur once, or the fault is stale. The message must name what is
// wrong, for a reader who sees nothing else; names of tests, and the guest's evidence, do not
// count as its words.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

const usage = `faults seeds small wrong changes, one at a time, and runs the test that must catch each.

Usage: go run ./scenarios/faults [OPTION...]

  -run REGEXP     only faults whose line in -list matches
  -sample N       only N of them, chosen by -seed (default 0, all)
  -seed SEED      another sample for another number (default 1)
  -j N            run N tests at once (default: the number of CPUs)
  -timeout TIME   end a test after TIME (default 5m)
  -list           list the faults with their tests, and run none
  -v              print the message of each test, also where it names the fault

Examples:
  go run ./scenarios/faults                         # all, as make faults
  go run ./scenarios/faults -run '^units/'          # those of a directory
  go run ./scenarios/faults -run ' \./echo' -sample 5

The tests run on copies of the module in the cache, see VMTEST_CACHE. They are not run without
their fault, so run make test first.

Exit status: 0 if each fault is caught by a message that names it, 1 if not, 2 for a usage
error or a stale fault.
`

// options are what the command line says.
type options struct {
	match   *regexp.Regexp
	sample  int
	seed    uint64
	jobs    int
	timeout time.Duration
	list    bool
	verbose bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, "", os.Args[1:], os.Stdout, os.Stderr))
}

// run tests the module of the directory dir, or of the working directory.
func run(ctx context.Context, dir string, args []string, stdout, stderr io.Writer) (status int) {
	opts, err := parseOptions(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "faults: %v (see --help)\n", err)
		return 2
	}
	root, err := moduleRoot(ctx, dir)
	var faults []fault
	if err == nil {
		faults, err = chosen(root, opts)
	}
	if err != nil {
		fmt.Fprintf(stderr, "faults: %v\n", err)
		return 2
	}
	if opts.list {
		for _, f := range faults {
			fmt.Fprintln(stdout, f)
		}
		return 0
	}
	began := time.Now()
	results, err := runAll(ctx, root, faults, opts, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "faults: %v\n", err)
		return 1
	}
	if !report(stdout, results, opts.verbose, time.Since(began)) {
		return 1
	}
	return 0
}

func parseOptions(args []string) (opts options, err error) {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	match := flags.String("run", "", "")
	flags.IntVar(&opts.sample, "sample", 0, "")
	flags.Uint64Var(&opts.seed, "seed", 1, "")
	flags.IntVar(&opts.jobs, "j", runtime.NumCPU(), "")
	flags.DurationVar(&opts.timeout, "timeout", 5*time.Minute, "")
	flags.BoolVar(&opts.list, "list", false, "")
	flags.BoolVar(&opts.verbose, "v", false, "")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	switch {
	case flags.NArg() > 0:
		return opts, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case opts.sample < 0:
		return opts, fmt.Errorf("-sample %d is negative", opts.sample)
	case opts.jobs < 1:
		return opts, fmt.Errorf("-j %d is less than 1", opts.jobs)
	case opts.timeout <= 0:
		return opts, fmt.Errorf("-timeout %s is not positive", opts.timeout)
	}
	opts.match, err = regexp.Compile(*match)
	return opts, err
}

// chosen returns the faults of the module at root that opts selects. All faults must
// apply, also those that opts leaves out.
func chosen(root string, opts options) ([]fault, error) {
	all, err := load(filepath.Join(root, "scenarios", "faults"))
	if err != nil {
		return nil, err
	}
	var faults []fault
	var stale []error
	for _, f := range all {
		if _, err := f.apply(os.DirFS(root)); err != nil {
			stale = append(stale, err)
		}
		if opts.match.MatchString(f.String()) {
			faults = append(faults, f)
		}
	}
	if err := errors.Join(stale...); err != nil {
		return nil, err
	}
	if len(faults) == 0 {
		return nil, fmt.Errorf("no fault matches -run %s", opts.match)
	}
	if 0 < opts.sample && opts.sample < len(faults) {
		random := rand.New(rand.NewPCG(opts.seed, 0))
		random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		faults = faults[:opts.sample]
	}
	return faults, nil
}

// String returns the line of -list.
func (f fault) String() string {
	return fmt.Sprintf("%s %s %s: %s", f.Name, f.Package, f.Test, f.What)
}
