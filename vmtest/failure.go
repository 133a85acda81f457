package vmtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// Failure is the machine of a test that failed with VMTEST_EVIDENCE_SNAPSHOT=1, at that moment.
// Each machine that its Launch or Start returns goes on from there, with the right time and
// random numbers of its own. It is in no network unless a ForkConfig says so.
type Failure struct {
	*Snapshot

	Test  string          // its name
	Time  time.Time       // when the machine was kept
	Image images.Manifest // of its guest

	// Command is the last command that the test began before it failed, and Result how that
	// ended. It has no Args if there was none. Result has the last 16 KiB of each output, or
	// none if the test took it. Input says that the command had a Stdin, which is not kept.
	Command Command
	Result  Result
	Input   bool
}

// OpenFailure opens the machine in a directory of evidence, or in a copy of one, and writes
// nothing there. The files must belong to this user alone and match the digests in
// machine.json, and this host's QEMU must be of the same build as the one that saved them; under
// KVM that holds for the processor and the kernel, too. The caller closes the Failure.
//
// QEMU loads what is in the directory, so open only directories from people you trust.
func OpenFailure(ctx context.Context, dir string) (*Failure, error) {
	s, info, err := vm.OpenBundle(ctx, dir)
	if err != nil {
		return nil, err
	}
	config, err := Config{Image: info.Image.Name, Memory: info.Memory, CPUs: info.CPUs, NICs: info.NICs}.complete()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open failure %s: %w", dir, err), s.Close())
	}
	f := &Failure{Snapshot: &Snapshot{snapshot: s, config: config}, Test: info.Test, Time: info.Made, Image: info.Image}
	if c := info.Command; c != nil {
		f.Command = Command{Args: c.Args, Env: c.Env, Dir: c.Dir, User: c.User}
		f.Result = Result{Stdout: c.Stdout, Stderr: c.Stderr, ExitCode: c.ExitCode, Signal: c.Signal, Duration: c.Took}
		f.Input = c.Input
		if c.Err != "" {
			f.Result.err = fmt.Errorf("%s", c.Err)
		}
	}
	return f, nil
}
