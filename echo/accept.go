package echo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	firstBackoff = 5 * time.Millisecond
	maxBackoff   = time.Second
)

// accept accepts on all listeners until ctx is done, a listener fails or the
// server is idle.
func (s *Server) accept(ctx context.Context, conns *openConns, listeners []Listener, log *slog.Logger) error {
	for {
		err := s.acceptRound(ctx, conns, listeners, log)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if conns.count() == 0 {
			log.Info("idle, stopping", "event", "idle", "after", s.IdleTimeout.String())
			return nil
		}
		// A client connected as the idle timer fired. Serve it and go on.
	}
}

// acceptRound runs one accept loop per listener. It returns nil when ctx is done
// or the server is idle. All loops have ended by then, and every accepted
// connection is in conns.
func (s *Server) acceptRound(ctx context.Context, conns *openConns, listeners []Listener, log *slog.Logger) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		if err := l.SetDeadline(time.Time{}); err != nil {
			return fmt.Errorf("clear deadline of %s: %w", l.Name, err)
		}
	}
	for _, l := range listeners {
		group.Go(func() error { return acceptLoop(ctx, conns, l, log) })
	}
	group.Go(func() error {
		<-ctx.Done()
		// A past deadline wakes Accept and leaves the listener open for another round.
		for _, l := range listeners {
			if err := l.SetDeadline(time.Unix(1, 0)); err != nil {
				return fmt.Errorf("set deadline of %s: %w", l.Name, err)
			}
		}
		return nil
	})
	if s.IdleTimeout > 0 {
		defer conns.whenIdle(s.IdleTimeout, end)()
	}
	return group.Wait()
}

// acceptLoop accepts on l until its deadline passes. After a temporary error it
// waits, for longer each time.
func acceptLoop(ctx context.Context, conns *openConns, l Listener, log *slog.Logger) error {
	backoff := firstBackoff
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			backoff = firstBackoff
			conns.start(Conn{Conn: conn, Name: l.Name}, log)
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case !temporary(err):
			return fmt.Errorf("accept on %s: %w", l.Name, err)
		}
		log.Warn("accept failed, retrying", "event", "accept-error", "listener", l.Name,
			"error", err.Error(), "backoff", backoff.String())
		timer := time.NewTimer(backoff)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// temporary reports whether accept(2) can succeed later. The host may lack a
// resource, or a queued connection may have failed before it was accepted.
func temporary(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPERM, syscall.EPROTO,
		syscall.ENETDOWN, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.ENONET,
		syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ENETUNREACH,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
