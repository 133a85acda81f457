package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// interrupt is the cause of a context that a signal has ended. It matches
// context.Canceled.
type interrupt struct{ signal syscall.Signal }

func (i *interrupt) Error() string { return "interrupted by " + unix.SignalName(i.signal) }

func (i *interrupt) Is(target error) bool { return target == context.Canceled }

// status returns the exit status, as shells have it.
func (i *interrupt) status() int { return 128 + int(i.signal) }

// untilSignal returns a context that ends at the first of the signals, with an *interrupt
// as its cause. A second signal ends the program at once.
func untilSignal(signals ...os.Signal) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	got := make(chan os.Signal, 1)
	signal.Notify(got, signals...)
	go func() {
		select {
		case s := <-got:
			signal.Stop(got)
			cancel(&interrupt{s.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(got)
		cancel(nil)
	}
}

// closeError reports that a guest could not be closed.
type closeError struct{ err error }

func (e *closeError) Error() string { return "close guest: " + e.err.Error() }

func (e *closeError) Unwrap() error { return e.err }

// closeGuest closes a guest and adds its error to err. The exit status of err stays.
func closeGuest(guest io.Closer, err error) error {
	errClose := guest.Close()
	if errClose == nil {
		return err
	}
	errClose = &closeError{errClose}
	var status *statusError
	if errors.As(err, &status) && status.err == nil {
		return &statusError{status.status, errClose}
	}
	return errors.Join(err, errClose)
}

// explainInterrupt returns the text for a command that was interrupted.
func explainInterrupt(err error) string {
	var left *closeError
	if errors.As(err, &left) {
		return explain(fmt.Errorf("interrupted; %w", left))
	}
	if unwritten, ok := errors.AsType[*writeError](err); ok {
		return explain(fmt.Errorf("interrupted; %w", unwritten))
	}
	return "interrupted; all guests are closed"
}
