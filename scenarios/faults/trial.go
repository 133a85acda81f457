package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// killGrace is how long the output of a killed test may stay open.
const killGrace = 10 * time.Second

// result is what a test did about a fault.
type result struct {
	fault
	Outcome outcome
	Output  string // of the tests that failed, or of the build
	Time    time.Duration
}

// runAll tries faults, several at once, in copies that it removes. It prints each result
// to progress as it comes.
func runAll(ctx context.Context, root string, faults []fault, opts options, progress io.Writer) ([]result, error) {
	files, err := filesOf(ctx, root)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]result, len(faults))
	next := make(chan int)
	var workers sync.WaitGroup
	var mu sync.Mutex // of progress and done
	done := 0
	for range opts.jobs {
		workers.Go(func() {
			runtime.LockOSThread() // for Pdeathsig: see prctl(2), PR_SET_PDEATHSIG
			defer runtime.UnlockOSThread()
			place, err := newPlace(root, files)
			if err != nil {
				cancel(err)
			} else {
				defer func() {
					if err := place.close(); err != nil {
						cancel(err)
					}
				}()
			}
			for i := range next {
				if ctx.Err() != nil {
					continue
				}
				err := place.with(faults[i], func() error {
					var err error
					results[i], err = try(ctx, place.tree(), faults[i], opts.timeout)
					return err
				})
				if err != nil {
					cancel(fmt.Errorf("%s: %w", faults[i].Name, err))
					continue
				}
				r := results[i]
				mu.Lock()
				done++
				fmt.Fprintf(progress, "%3d/%d  %-16s %5.1f s  %s\n", done, len(faults), r.Outcome, r.Time.Seconds(), r.Name)
				mu.Unlock()
			}
		})
	}
	for i := range faults {
		next <- i
	}
	close(next)
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return results, nil
}

// try runs the test of a fault in tree, which has it.
func try(ctx context.Context, tree string, f fault, timeout time.Duration) (r result, err error) {
	began := time.Now()
	// A short name: paths of sockets, which have at most 107 bytes, begin with it.
	temp, err := os.MkdirTemp("", "fault")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	if err := os.Chmod(temp, 0o755); err != nil { // some tests become another user
		return r, err
	}
	// With -trimpath, copies in different directories share the go command's cache.
	cmd := exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "-trimpath", "-vet=off",
		"-timeout", timeout.String(), "-run", f.Test, f.Package)
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killGrace
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if cause := context.Cause(ctx); cause != nil {
		return r, cause
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return r, fmt.Errorf("run go test: %w", err)
	}
	r = result{fault: f, Time: time.Since(began)}
	r.Outcome, r.Output, err = judge(&stdout, f.Message)
	if err != nil {
		return r, fmt.Errorf("%w\n%s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return r, nil
}
