package echo

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
)

// serve sends back what it receives until the client half-closes. It reports true if
// handOver ended it, and the connection is to go on with the next process.
func serve(conn Conn, log *slog.Logger) (handedOver bool) {
	log = log.With("peer", peerName(conn.Conn), "listener", conn.Name)
	log.Info("connection accepted", "event", "accept")
	n, err := sendBack(conn.Conn)
	log = log.With("event", "close", "bytes", n)
	// Log before closing: a client that reads the end can rely on the line.
	switch {
	case err == nil:
		log.Info("connection closed by client")
	case errors.Is(err, os.ErrDeadlineExceeded):
		log.Info("connection left to the next process")
		return true
	case closedByUs(err):
		log.Warn("connection reset by server")
	default:
		log.Warn("connection broken", "error", err.Error())
	}
	if err != nil {
		return false
	}
	// Close alone leaves the connection open while another process holds a
	// duplicate of the descriptor; a shutdown does not.
	if half, ok := conn.Conn.(interface{ CloseWrite() error }); ok {
		// This fails only if the client has closed the connection already.
		_ = half.CloseWrite()
	}
	return false
}

// sendBack copies conn to itself until the client half-closes.
func sendBack(conn net.Conn) (n int64, err error) {
	if addr := conn.LocalAddr(); addr != nil && addr.Network() == "unixpacket" {
		return copyMessages(conn)
	}
	// The wrappers hide ReadFrom and WriteTo, because splice(2) would hold a pipe
	// (two descriptors, up to 1 MiB) for every connection, even an idle one.
	return io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
}

// closedByUs reports whether [openConns.reset] ended the connection.
func closedByUs(err error) bool { return errors.Is(err, net.ErrClosed) }
