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

// past is a deadline that wakes what waits for a socket and leaves the socket open.
var past = time.Unix(1, 0)

// accept accepts on all listeners, and answers all datagrams, until ctx is done, a
// socket fails or the server is idle. limits are those of the listeners.
//
// Nothing is taken from a queue after that: a client that comes later stays there for
// the process that systemd starts next.
func (s *Server) accept(ctx context.Context, conns *openConns, sockets Sockets, limits []*limit, log *slog.Logger) error {
	for {
		err := s.acceptRound(ctx, conns, sockets, limits, log)
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

// acceptRound runs one loop per listener and datagram socket. It returns nil when ctx
// is done or the server is idle. All loops have ended by then, and every accepted
// connection is in conns.
func (s *Server) acceptRound(ctx context.Context, conns *openConns, sockets Sockets, limits []*limit, log *slog.Logger) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	group, ctx := errgroup.WithContext(ctx)
	if err := sockets.setDeadline(time.Time{}); err != nil {
		return err
	}
	for i, l := range sockets.Listeners {
		group.Go(func() error { return acceptLoop(ctx, conns, l, limits[i], log) })
	}
	for _, d := range sockets.Datagrams {
		group.Go(func() error { return datagramLoop(conns, d, log) })
	}
	group.Go(func() error {
		<-ctx.Done()
		// The sockets stay open for another round.
		return sockets.setDeadline(past)
	})
	if s.IdleTimeout > 0 {
		defer conns.whenIdle(s.IdleTimeout, end)()
	}
	return group.Wait()
}

// setDeadline sets the deadline of all listeners and datagram sockets.
func (s Sockets) setDeadline(deadline time.Time) error {
	for _, l := range s.Listeners {
		if err := l.SetDeadline(deadline); err != nil {
			return fmt.Errorf("set deadline of %s: %w", l.Name, err)
		}
	}
	for _, d := range s.Datagrams {
		if err := d.SetDeadline(deadline); err != nil {
			return fmt.Errorf("set deadline of %s: %w", d.Name, err)
		}
	}
	return nil
}

// acceptLoop accepts on l, as far as the limit allows, until its deadline passes. After
// a temporary error it waits, for longer each time.
func acceptLoop(ctx context.Context, conns *openConns, l Listener, limit *limit, log *slog.Logger) error {
	backoff := firstBackoff
	full := func(max int) {
		log.Info("connection limit reached, further clients wait", "event", "full", "listener", l.Name, "connections", max)
	}
	for limit.take(ctx, full) {
		conn, err := l.Accept()
		if err == nil {
			backoff = firstBackoff
			conns.start(Conn{Conn: conn, Name: l.Name}, limit.done, log)
			continue
		}
		limit.done()
		switch {
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
	return nil
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
