// Package echo implements demo-echo, the reference daemon for socket activation.
// It sends back what it receives until the client half-closes (RFC 862), over the
// stream, datagram and sequential packet sockets that systemd passes to it.
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
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// DefaultDrainTimeout is how long open connections may go on after a stop.
const DefaultDrainTimeout = 5 * time.Second

// Server is an echo server. The zero value is ready to use.
type Server struct {
	// Log receives one record per event. Its attribute "event" is listen, accept,
	// close, datagram, full, accept-error, reload, drain or idle. If Log is nil,
	// records are discarded.
	Log *slog.Logger
	// DrainTimeout is how long open connections may go on after a stop, before
	// Serve resets them. 0 means DefaultDrainTimeout.
	DrainTimeout time.Duration
	// IdleTimeout ends Serve when no connection has been open, and no datagram has
	// come, for that long. The socket unit starts the service again for the next
	// client. 0 means never. A single accepted connection ignores it.
	IdleTimeout time.Duration
	// MaxConnections is how many connections of each listener are served at once.
	// Further clients wait in the listener's queue. 0 means no bound.
	MaxConnections int
	// Reload makes Serve call ReadConfig for each value, such as a SIGHUP. nil means
	// never.
	Reload <-chan os.Signal
	// ReadConfig returns a new MaxConnections. After an error the old one stays. nil
	// means that a reload changes nothing.
	ReadConfig func() (maxConnections int, err error)
	// Store keeps connections in systemd's file-descriptor store while they are open,
	// so that they go on with the next process after a restart or a crash. A stop
	// leaves them there instead of draining them: Serve ends as soon as all that it
	// has read is sent back. FileDescriptorStoreMax= must allow for them.
	Store bool
}

// Serve serves sockets and closes them. It returns when ctx is done and the open
// connections are drained, when it was idle for IdleTimeout, or when its only
// connection has ended. No connection is being served when it returns.
//
// Errors of a connection are logged. Serve returns an error if a listener cannot
// accept any more.
//
// If NOTIFY_SOCKET is set, Serve sends READY=1, RELOADING=1, STOPPING=1, and with
// WATCHDOG_USEC also WATCHDOG=1 (sd_notify(3)).
func (s *Server) Serve(ctx context.Context, sockets Sockets) error {
	if sockets.Conn == nil && len(sockets.Listeners)+len(sockets.Datagrams)+len(sockets.Stored) == 0 {
		return ErrNoSockets
	}
	// The error of a second close is harmless.
	defer func() { _ = sockets.Close() }()
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}

	conns := openConns{store: s.Store}
	limits := s.limits(sockets.Listeners)
	announce(sockets, log)
	notify(log, daemon.SdNotifyReady)
	defer watchdog(log, func() { conns.count() })()
	var err error
	if sockets.Conn != nil {
		serveOne(ctx, &conns, *sockets.Conn, log)
	} else {
		for _, c := range sockets.Stored {
			conns.start(c, restored(c, sockets.Listeners, limits), log.With("stored", true))
		}
		err = s.serveAll(ctx, &conns, sockets, limits, log)
	}
	cause := err
	if cause == nil {
		cause = context.Cause(ctx)
	}
	if cause == nil { // idle, or the only connection has ended
		notify(log, daemon.SdNotifyStopping)
		return nil
	}
	return errors.Join(err, s.drain(&conns, log.With("event", "drain", "cause", cause.Error())))
}

// limits returns a limit for each listener.
func (s *Server) limits(listeners []Listener) []*limit {
	limits := make([]*limit, len(listeners))
	for i := range limits {
		limits[i] = &limit{max: s.MaxConnections}
	}
	return limits
}

// restored counts a stored connection to the first listener of its name, and returns
// a function that undoes that.
func restored(c Conn, listeners []Listener, limits []*limit) (done func()) {
	for i, l := range listeners {
		if l.Name == c.Name {
			limits[i].add()
			return limits[i].done
		}
	}
	return func() {}
}

// announce logs the sockets.
func announce(sockets Sockets, log *slog.Logger) {
	listening := func(name string, addr net.Addr) {
		log.Info("listening", "event", "listen", "listener", name, "address", addr.String(), "network", addr.Network())
	}
	for _, l := range sockets.Listeners {
		listening(l.Name, l.Addr())
	}
	for _, d := range sockets.Datagrams {
		listening(d.Name, d.LocalAddr())
	}
}

// serveAll serves listeners and datagram sockets, and reloads.
func (s *Server) serveAll(ctx context.Context, conns *openConns, sockets Sockets, limits []*limit, log *slog.Logger) error {
	reloading, end := context.WithCancel(ctx)
	var reloads sync.WaitGroup
	reloads.Go(func() { s.reloads(reloading, limits, log) })
	defer reloads.Wait()
	defer end()
	return s.accept(ctx, conns, sockets, limits, log)
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
	conns.start(conn, func() {}, log)
	select {
	case <-conns.none():
	case <-ctx.Done():
	}
}
