package vmtest

import (
	"sync"
	"testing"
)

// setUp calls Setup for a machine in a test. If Setup fails the test, setUp logs evidence
// from the machine and ends the goroutine.
func (p *Template) setUp(t testing.TB, m *Machine) {
	t.Helper()
	s := &setupTB{TB: t}
	defer func() {
		t.Helper()
		if s.hasFailed() {
			logEvidence(t, m)
		}
	}()
	func() {
		defer s.cleanUp()
		p.Setup(s, &Guest{Machine: m})
	}()
	if s.hasFailed() { // by Error, which does not end the goroutine, or in a clean-up
		t.FailNow()
	}
}

// setupTB is a test while Setup runs in it. It records whether Setup has failed the test,
// which may have failed before, and it has clean-ups of its own.
type setupTB struct {
	testing.TB

	mu       sync.Mutex
	failed   bool
	cleanUps []func()
}

func (s *setupTB) setFailed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
}

func (s *setupTB) hasFailed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *setupTB) Fail() {
	s.setFailed()
	s.TB.Fail()
}

func (s *setupTB) FailNow() {
	s.setFailed()
	s.TB.FailNow()
}

func (s *setupTB) Error(args ...any) {
	s.Helper()
	s.setFailed()
	s.TB.Error(args...)
}

func (s *setupTB) Errorf(format string, args ...any) {
	s.Helper()
	s.setFailed()
	s.TB.Errorf(format, args...)
}

func (s *setupTB) Fatal(args ...any) {
	s.Helper()
	s.setFailed()
	s.TB.Fatal(args...)
}

func (s *setupTB) Fatalf(format string, args ...any) {
	s.Helper()
	s.setFailed()
	s.TB.Fatalf(format, args...)
}

// Cleanup keeps f for the end of Setup. The machine is gone when the test ends.
func (s *setupTB) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanUps = append(s.cleanUps, f)
}

// cleanUp calls the clean-ups, the last one first, also if one ends the goroutine.
func (s *setupTB) cleanUp() {
	s.mu.Lock()
	n := len(s.cleanUps) - 1
	if n < 0 {
		s.mu.Unlock()
		return
	}
	f := s.cleanUps[n]
	s.cleanUps = s.cleanUps[:n]
	s.mu.Unlock()
	defer s.cleanUp()
	f()
}
