package link_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// A program in the guest connects to a listener of each kind, one connection after the other.
func TestListen(t *testing.T) {
	g := start(t, &agent.Server{})
	dir := t.TempDir()
	for _, at := range [][2]string{{"tcp", "127.0.0.1:0"}, {"unix", filepath.Join(dir, "stream")}, {"unix", "@vmtest-listen"}, {"unixpacket", filepath.Join(dir, "packet")}} {
		l, err := g.Listen(testContext(t), at[0], at[1])
		require.NoError(t, err, at)
		if strings.HasPrefix(at[1], "/") {
			info, err := os.Stat(at[1])
			require.NoError(t, err)
			assert.Equal(t, fs.ModeSocket|0o666, info.Mode(), "daemons are not root")
		}
		for range 3 {
			daemon, err := net.Dial(at[0], l.Addr().String())
			require.NoError(t, err, at)
			conn, err := l.Accept(testContext(t))
			require.NoError(t, err, at)
			assert.Equal(t, l.Addr(), conn.LocalAddr())
			if at[0] == "tcp" {
				assert.Equal(t, daemon.LocalAddr().String(), conn.RemoteAddr().String())
			}
			_, err = daemon.Write([]byte("hello"))
			require.NoError(t, err)
			p := make([]byte, 100)
			n, err := conn.Read(p)
			require.NoError(t, err)
			assert.Equal(t, "hello", string(p[:n]))
			_, err = conn.Write([]byte("and back"))
			require.NoError(t, err)
			n, err = daemon.Read(p)
			require.NoError(t, err)
			assert.Equal(t, "and back", string(p[:n]))
			require.NoError(t, daemon.Close())
			if at[0] != "unixpacket" {
				_, err = conn.Read(p)
				assert.Equal(t, io.EOF, err)
			}
			require.NoError(t, conn.Close())
		}
		require.NoError(t, l.Close())
		_, err = l.Accept(testContext(t))
		assert.ErrorIs(t, err, net.ErrClosed, at)
		_, err = net.Dial(at[0], l.Addr().String())
		assert.Error(t, err, "the socket is closed")
		if strings.HasPrefix(at[1], "/") {
			assert.NoFileExists(t, at[1])
		}
	}
}

// A call of Accept whose time is over loses no connection.
func TestAcceptInTime(t *testing.T) {
	g := start(t, &agent.Server{})
	l, err := g.Listen(testContext(t), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = l.Accept(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	daemon, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer daemon.Close()
	inTime, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := l.Accept(inTime)
	require.NoError(t, err)
	assert.Equal(t, daemon.LocalAddr().String(), conn.RemoteAddr().String())
	conn.Close()

	// One that Close finds is closed.
	soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = l.Accept(soon)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	daemon, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer daemon.Close()
	require.NoError(t, l.Close())
	_, err = daemon.Read(make([]byte, 1))
	assert.Error(t, err)
	_, err = l.Accept(testContext(t))
	assert.ErrorIs(t, err, net.ErrClosed)
}

// What cannot be listened on is told by the guest's own error.
func TestListenFails(t *testing.T) {
	g := start(t, &agent.Server{})
	taken, err := g.Listen(testContext(t), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, test := range []struct {
		network, address string
		is               error
		text             string
	}{
		{"tcp", taken.Addr().String(), syscall.EADDRINUSE, " (guest): bind: address already in use"},
		{"tcp", "192.0.2.1:80", syscall.EADDRNOTAVAIL, "listen tcp 192.0.2.1:80 (guest): bind: cannot assign requested address"},
		{"unix", "/nowhere/socket", fs.ErrNotExist, "listen unix /nowhere/socket (guest): bind: no such file or directory"},
		{"udp", "127.0.0.1:0", nil, "listen udp: unknown network udp, not one of tcp, tcp4, tcp6, unix, unixpacket"},
	} {
		_, err := g.Listen(testContext(t), test.network, test.address)
		assert.ErrorContains(t, err, test.text)
		if test.is != nil {
			assert.ErrorIs(t, err, test.is)
		}
	}
	_, err = g.ListenPacket(testContext(t), "unixgram", "/nowhere/socket")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = g.ListenPacket(testContext(t), "tcp", "127.0.0.1:0")
	assert.EqualError(t, err, "listen tcp: unknown network tcp, not one of udp, udp4, udp6, unixgram")
}

// Accept ends with the link.
func TestListenerWithoutALink(t *testing.T) {
	g := start(t, &agent.Server{})
	l, err := g.Listen(testContext(t), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	result := make(chan error)
	go func() {
		_, err := l.Accept(context.Background())
		result <- err
	}()
	g.Shut(errors.New("the guest has gone"))
	g.Close()
	assert.ErrorContains(t, <-result, "the guest has gone")
	require.Eventually(t, func() bool {
		_, err := net.Dial("tcp", l.Addr().String())
		return err != nil
	}, 10*time.Second, time.Millisecond, "the socket is closed")
}

// Datagrams keep their borders and their addresses.
func TestListenPacket(t *testing.T) {
	g := start(t, &agent.Server{})
	dir := t.TempDir()
	for _, at := range [][2]string{{"udp", "127.0.0.1:0"}, {"unixgram", filepath.Join(dir, "gram")}} {
		p, err := g.ListenPacket(testContext(t), at[0], at[1])
		require.NoError(t, err)
		own := "127.0.0.1:0"
		if at[0] == "unixgram" {
			own = filepath.Join(dir, "daemon")
		}
		daemon, err := net.ListenPacket(at[0], own)
		require.NoError(t, err)
		b := make([]byte, 70_000)
		for _, text := range []string{"one", "", strings.Repeat("x", 60_000)} {
			_, err = daemon.WriteTo([]byte(text), p.LocalAddr())
			require.NoError(t, err)
			n, from, err := p.ReadFrom(b)
			require.NoError(t, err)
			assert.Equal(t, text, string(b[:n]))
			assert.Equal(t, daemon.LocalAddr().String(), from.String())
			_, err = p.WriteTo([]byte("to "+text), from)
			require.NoError(t, err)
			n, _, err = daemon.ReadFrom(b)
			require.NoError(t, err)
			assert.Equal(t, "to "+text, string(b[:n]))
		}
		require.NoError(t, daemon.Close())
		os.Remove(own)
		if at[0] == "unixgram" {
			nameless, err := net.Dial(at[0], at[1])
			require.NoError(t, err)
			_, err = nameless.Write([]byte("from nobody"))
			require.NoError(t, err)
			n, from, err := p.ReadFrom(b)
			require.NoError(t, err)
			assert.Equal(t, "from nobody", string(b[:n]))
			_, err = p.WriteTo([]byte("answer"), from)
			assert.ErrorIs(t, err, syscall.EDESTADDRREQ)
			nameless.Close()
			_, err = p.WriteTo([]byte("to nobody"), daemon.LocalAddr())
			require.NoError(t, err)
			_, _, err = p.ReadFrom(b)
			assert.ErrorIs(t, err, fs.ErrNotExist)
			assert.ErrorContains(t, err, "write unixgram ")
		}
		_, err = p.WriteTo([]byte("to none"), nil)
		assert.ErrorIs(t, err, syscall.EDESTADDRREQ)
		require.NoError(t, p.SetReadDeadline(time.Now().Add(-time.Second)))
		_, _, err = p.ReadFrom(b)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, p.Close())
		_, _, err = p.ReadFrom(b)
		assert.ErrorIs(t, err, net.ErrClosed)
		if at[0] == "unixgram" {
			assert.NoFileExists(t, at[1])
		}
	}
}

// What was written before Close is sent, and a receiver that takes nothing holds up nobody for
// long.
func TestPacketsBeforeClose(t *testing.T) {
	g := start(t, &agent.Server{})
	receiver, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer receiver.Close()
	p, err := g.ListenPacket(testContext(t), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	const datagrams = 200
	for range datagrams {
		_, err = p.WriteTo([]byte("x"), receiver.LocalAddr())
		require.NoError(t, err)
	}
	require.NoError(t, p.Close())
	require.NoError(t, receiver.SetReadDeadline(time.Now().Add(10*time.Second)))
	for n := range datagrams {
		_, _, err = receiver.ReadFrom(make([]byte, 10))
		require.NoError(t, err, "datagram %d", n)
	}
}

// Close returns when the path is gone. It is done many times, as the guest closes the socket and
// removes the path while another goroutine sees that the socket is closed.
func TestCloseRemovesThePath(t *testing.T) {
	g := start(t, &agent.Server{})
	path := filepath.Join(t.TempDir(), "gram")
	for range 500 {
		p, err := g.ListenPacket(testContext(t), "unixgram", path)
		require.NoError(t, err)
		require.NoError(t, p.Close())
		require.NoFileExists(t, path)
	}
}

var _ net.PacketConn = (*link.PacketConn)(nil)
