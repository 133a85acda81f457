package vmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/gobuild"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// coverDir returns the directory for the coverage of Go programs in guests; "" is none.
func coverDir() string { return os.Getenv("VMTEST_COVER") }

// checkCoverDir returns an error if that is not what a go command in any directory could read.
func checkCoverDir() error {
	if dir := coverDir(); dir != "" && !filepath.IsAbs(dir) {
		return fmt.Errorf("read VMTEST_COVER: %q is not an absolute path", dir)
	}
	return nil
}

// Paths in the guest.
const (
	coverResults  = "/run/systemd-vmtest-cover"
	coverPrograms = "/var/lib/systemd-vmtest-cover/programs" // a path a line
)

// coverTimeout bounds each of the two steps that coverage adds to the end of a machine.
const coverTimeout = 30 * time.Second

// coverage has the collectors of a machine: a process of each program that InstallGo has built
// with -cover, which holds the counters of all others.
type coverage struct {
	mu       sync.Mutex
	programs []string // that have a collector, or had one
	running  []*collector
}

// collector is a process in the guest (gobuild.CollectVar).
type collector struct {
	program string
	stdin   *io.PipeWriter
	output  *readyWriter
	ended   chan error // how it did
	kill    context.CancelFunc
}

// readyWriter keeps the end of output, and closes ready at a line "ready".
type readyWriter struct {
	kept  *tail.Buffer
	once  sync.Once
	ready chan struct{}
}

func newReadyWriter() *readyWriter {
	return &readyWriter{kept: tail.NewBuffer(4 << 10), ready: make(chan struct{})}
}

func (w *readyWriter) Write(p []byte) (int, error) {
	_, _ = w.kept.Write(p) // never fails
	data, dropped := w.kept.Bytes()
	if bytes.Contains(data, []byte("\nready\n")) || !dropped && bytes.HasPrefix(data, []byte("ready\n")) {
		w.once.Do(func() { close(w.ready) })
	}
	return len(p), nil
}

// lines returns the end of the output for an error.
func (w *readyWriter) lines() string {
	data, _ := w.kept.Bytes()
	return lastLines(data)
}

// cover starts a collector for the program that InstallGo has written to guestPath.
func (m *Machine) cover(ctx context.Context, guestPath string) error {
	if coverDir() == "" {
		return nil
	}
	m.coverage.mu.Lock()
	defer m.coverage.mu.Unlock()
	if !slices.Contains(m.coverage.programs, guestPath) {
		m.coverage.programs = append(m.coverage.programs, guestPath)
		list := strings.Join(m.coverage.programs, "\n")
		if err := m.system().writeFile(ctx, coverPrograms, []byte(list), 0o644); err != nil {
			return fmt.Errorf("collect coverage: %w", err)
		}
	}
	return m.startCollector(ctx, guestPath)
}

// startCollector returns when the collector takes counters. The caller holds the lock.
func (m *Machine) startCollector(ctx context.Context, program string) error {
	in, stdin := io.Pipe()
	own, kill := context.WithCancel(context.WithoutCancel(ctx))
	c := &collector{program: program, stdin: stdin, output: newReadyWriter(), ended: make(chan error, 1), kill: kill}
	go func() {
		c.ended <- m.vm.Exec(own, link.Command{
			Args:  []string{program},
			Env:   []string{gobuild.CollectVar + "=" + program, gobuild.ResultsVar + "=" + coverResults},
			Stdin: in, Stdout: c.output, Stderr: c.output,
		})
		in.Close()
	}()
	select {
	case <-c.output.ready:
		m.coverage.running = append(m.coverage.running, c)
		return nil
	case err := <-c.ended:
		kill()
		return fmt.Errorf("collect coverage of %s: %w%s", program, public(err), c.output.lines())
	case <-ctx.Done():
		kill()
		return fmt.Errorf("collect coverage of %s: %w", program, context.Cause(ctx))
	}
}

// resumeCoverage starts the collectors of a machine that others prepared, or that has rebooted.
func (m *Machine) resumeCoverage(ctx context.Context) error {
	if coverDir() == "" {
		return nil
	}
	list, err := m.ReadFile(ctx, coverPrograms)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("collect coverage: %w", err)
	}
	m.coverage.mu.Lock()
	defer m.coverage.mu.Unlock()
	m.coverage.programs = strings.Split(string(list), "\n")
	for _, program := range m.coverage.programs {
		err := m.startCollector(ctx, program)
		if errors.Is(err, fs.ErrNotExist) { // a test has removed it
			continue
		} else if err != nil {
			return err
		}
	}
	return nil
}

// resumed returns the machine after resumeCoverage, or ends it.
func (m *Machine) resumed(ctx context.Context) (*Machine, error) {
	if err := m.resumeCoverage(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// collectCoverage brings all counters to the host and ends the collectors.
func (m *Machine) collectCoverage(ctx context.Context) error {
	m.coverage.mu.Lock()
	defer m.coverage.mu.Unlock()
	running := m.coverage.running
	if m.coverage.running = nil; len(running) == 0 {
		return nil
	}
	select {
	case <-m.Done():
		m.config.notice("the guest has ended, and the coverage of its programs is lost")
		return nil
	default:
	}
	ctx = context.WithoutCancel(ctx)
	err := writeCounters(ctx, running)
	if err := os.MkdirAll(coverDir(), 0o755); err != nil {
		return fmt.Errorf("collect coverage: %w", err)
	}
	ctx, cancel := WithTimeout(ctx, coverTimeout)
	defer cancel()
	copied := m.CopyOut(ctx, coverResults, coverDir())
	if err != nil && errors.Is(copied, fs.ErrNotExist) { // no collector has written
		return err
	} else if copied != nil {
		return errors.Join(err, fmt.Errorf("collect coverage: %w", copied))
	}
	return err
}

// writeCounters has all collectors write what they have, and ends them. It returns the errors
// of all.
func writeCounters(ctx context.Context, running []*collector) error {
	ctx, cancel := WithTimeout(ctx, coverTimeout)
	defer cancel()
	for _, c := range running {
		defer c.kill()
		go func() { _, _ = c.stdin.Write([]byte("write\n")) }() // ends with the collector
	}
	var errs []error
	for _, c := range running {
		if err := c.end(ctx); err != nil {
			errs = append(errs, fmt.Errorf("collect coverage of %s: %w%s", c.program, public(err), c.output.lines()))
		}
	}
	return errors.Join(errs...)
}

// end waits until the collector has ended.
func (c *collector) end(ctx context.Context) error {
	select {
	case err := <-c.ended:
		return err
	default:
	}
	select {
	case err := <-c.ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
