package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"example.org/systemd-vmtest/internal/host"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vmtest": main})
}

// TestScript runs the scripts in testdata/script, which need no guest.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("BIN", filepath.SplitList(e.Getenv("PATH"))[0]) // has vmtest alone
			e.Setenv("VMTEST_CACHE", filepath.Join(e.WorkDir, "cache"))
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "apt" {
				_, ok := host.InstallCommand(nil)
				return ok, nil
			}
			return false, errors.New("unknown condition " + name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status},
	})
}

// status is "status N COMMAND...": the command must exit with N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, not %d", got, want)
	}
}
