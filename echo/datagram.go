package echo

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// errUnbound is why a datagram is not sent back: its sender has no address. AF_UNIX
// clients have one only after bind(2).
var errUnbound = errors.New("the sender's socket is not bound")

// datagramLoop sends back each datagram until the deadline of d passes. Datagrams
// that are in the queue then stay there, for the next process.
func datagramLoop(conns *openConns, d Datagram, log *slog.Logger) error {
	buf := make([]byte, maxMessage+1)
	for {
		n, from, err := d.ReadFrom(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("receive on %s: %w", d.Name, err)
		}
		conns.touch()
		log := log.With("listener", d.Name, "event", "datagram", "peer", addrName(from), "bytes", n)
		if n > maxMessage {
			err = errMessageTooLong
		} else {
			err = reply(d.PacketConn, buf[:n], from)
		}
		if err != nil {
			log.Warn("datagram dropped", "error", err.Error())
			continue
		}
		log.Info("datagram sent back")
	}
}

// reply sends a datagram without waiting for a client that does not read. A client
// of AF_UNIX that is connected still takes room in the buffer of conn until it reads.
func reply(conn net.PacketConn, message []byte, to net.Addr) error {
	local, ok := conn.(*net.UnixConn)
	if !ok {
		_, err := conn.WriteTo(message, to) // UDP drops what does not fit
		return err
	}
	client, ok := to.(*net.UnixAddr)
	if !ok || client == nil || client.Name == "" {
		return errUnbound
	}
	raw, err := local.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		// Like all sockets of package net, fd does not block.
		err = unix.Sendto(int(fd), message, 0, &unix.SockaddrUnix{Name: client.Name})
	})
	return errors.Join(os.NewSyscallError("sendto", err), cerr)
}

// addrName returns an address as text; an AF_UNIX client that is not bound has none.
func addrName(addr net.Addr) string {
	if local, ok := addr.(*net.UnixAddr); addr == nil || ok && local == nil {
		return ""
	}
	return addr.String()
}
