// Package echo implements demo-echo, the reference daemon for socket activation.
// It sends back what it receives until the client half-closes (RFC 862), over TCP
// and AF_UNIX stream sockets that systemd passes to it.
//
// [Inherited] takes over the sockets and [Server.Serve] serves them:
//
//	sockets, err := echo.Inherited()
//	...
//	err = (&echo.Server{Log: echo.NewLogger()}).Serve(ctx, sockets)
//
// The server opens no network socket, so it needs no access to the network. The
// command is in cmd/demo-echo, its units are in units:
//
//	CGO_ENABLED=0 go build ./echo/cmd/demo-echo
package echo

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// DefaultDrainTimeout is how long open connections may go on after a stop.
const DefaultDrainTimeout = 5 * time.Second

// Server is an echo server. The zero value is ready to use.
type Server struct {
	// Log receives one record per event. Its attribute "event" is listen, accept,
	// close, accept-error, drain or idle. If Log is nil, records are discarded.
	Log *slog.Logger
	// DrainTimeout is how long open connections may go on after a stop, before
	// Serve resets them. 0 means DefaultDrainTimeout.
	DrainTimeout time.Duration
	// IdleTimeout ends Serve when no connection has been open for that long. The
	// socket unit starts the service again for the next client. 0 means never.
	// A single accepted connection ignores it.
	IdleTimeout time.Duration
}

// Serve serves sockets and closes them. It returns when ctx is done and the open
// connections are drained, when it was idle for IdleTimeout, or when its only
// connection has ended. No connection is being served when it returns.
//
// Errors of a connection are logged. Serve returns an error if a listener cannot
// accept any more.
//
// If NOTIFY_SOCKET is set, Serve sends READY=1 and STOPPING=1 (sd_notify(3)).
func (s *Server) Serve(ctx context.Context, sockets Sockets) error {
	if sockets.Conn == nil && len(sockets.Listeners) == 0 {
		return ErrNoSockets
	}
	// The error of a second close is harmless.
	defer func() { _ = sockets.Close() }()
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}

	var conns openConns
	for _, l := range sockets.Listeners {
		log.Info("listening", "event", "listen", "listener", l.Name, "address", l.Addr().String())
	}
	notify(log, daemon.SdNotifyReady)
	var err error
	if sockets.Conn != nil {
		serveOne(ctx, &conns, *sockets.Conn, log)
	} else {
		err = s.accept(ctx, &conns, sockets.Listeners, log)
	}
	cause := err
	if cause == nil {
		cause = context.Cause(ctx)
	}
	if cause == nil { // idle, or the only connection has ended
		notify(log, daemon.SdNotifyStopping)
		return nil
	}
	s.drain(&conns, log.With("event", "drain", "cause", cause.Error()))
	return err
}

// serveOne serves the connection of an Accept=yes instance.
func serveOne(ctx context.Context, conns *openConns, conn Conn, log *slog.Logger) {
	// systemd sets these for Accept=yes, systemd.socket(5).
	if addr := os.Getenv("REMOTE_ADDR"); addr != "" {
		log = log.With("remote_addr", addr)
	}
	if port := os.Getenv("REMOTE_PORT"); port != "" {
		log = log.With("remote_port", port)
	}
	conns.start(conn, log)
	select {
	case <-conns.none():
	case <-ctx.Done():
	}
}

// drain waits up to DrainTimeout for open connections to end, then resets the rest.
func (s *Server) drain(conns *openConns, log *slog.Logger) {
	bound := s.DrainTimeout
	if bound == 0 {
		bound = DefaultDrainTimeout
	}
	log.Info("stopping, draining connections", "connections", conns.count(), "bound", bound.String())
	notify(log, daemon.SdNotifyStopping)
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-conns.none():
		log.Info("drained", "closed_hard", 0)
	case <-timer.C:
		n := conns.reset()
		<-conns.none()
		log.Warn("drain timeout reached, connections reset", "closed_hard", n)
	}
}

func notify(log *slog.Logger, state string) {
	// Serve regardless: if READY=1 is lost, systemd's start timeout applies.
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Error("cannot notify systemd", "state", state, "error", err.Error())
	}
}

// closedByUs reports whether [openConns.reset] ended the connection.
func closedByUs(err error) bool { return errors.Is(err, net.ErrClosed) }
