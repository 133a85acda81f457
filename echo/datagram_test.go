package echo

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bind returns a datagram socket as a service manager passes it, and its address.
func bind(t *testing.T, network string) (Sockets, net.Addr) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unixgram" {
		address = filepath.Join(t.TempDir(), "d")
	}
	sockets, err := Sort([]*os.File{datagramFile(t, network, address, "test-"+network)})
	require.NoError(t, err)
	return sockets, sockets.Datagrams[0].LocalAddr()
}

// sender returns a client of a datagram socket. One of AF_UNIX is bound to an abstract
// address if bound is true.
func sender(t *testing.T, to net.Addr, bound bool) net.Conn {
	t.Helper()
	dialer := net.Dialer{}
	if bound && to.Network() == "unixgram" {
		dialer.LocalAddr = &net.UnixAddr{Name: "@echo-test-" + filepath.Base(t.TempDir()) + t.Name(), Net: "unixgram"}
	}
	conn, err := dialer.DialContext(t.Context(), to.Network(), to.String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

func send(t *testing.T, conn net.Conn, messages ...string) {
	t.Helper()
	for _, m := range messages {
		_, err := conn.Write([]byte(m))
		require.NoError(t, err)
	}
}

// receive returns the next n messages.
func receive(t *testing.T, conn net.Conn, n int) (messages []string) {
	t.Helper()
	buf := make([]byte, 2*maxMessage)
	for range n {
		size, err := conn.Read(buf)
		require.NoError(t, err)
		messages = append(messages, string(buf[:size]))
	}
	return messages
}

func TestDatagramsKeepTheirBoundaries(t *testing.T) {
	for _, network := range []string{"udp", "unixgram"} {
		t.Run(network, func(t *testing.T) {
			sockets, address := bind(t, network)
			r := start(t, Server{}, sockets)
			client := sender(t, address, true)
			messages := []string{"one", "", "three\nlines\n", strings.Repeat("x", 60_000)}
			send(t, client, messages...)
			assert.Equal(t, messages, receive(t, client, len(messages)))
			r.stop()
			require.NoError(t, r.wait(t))
			log := r.log.String()
			assert.Contains(t, log, "event=listen listener=test-"+network+" address="+address.String()+" network="+network)
			assert.Contains(t, log, "listener=test-"+network+" event=datagram peer="+client.LocalAddr().String()+" bytes=60000")
		})
	}
}

// None of these clients keeps the server from answering another one.
func TestDatagramsThatAreDropped(t *testing.T) {
	for _, test := range []struct {
		name  string
		bound bool
		sends func(t *testing.T, client net.Conn, to net.Addr)
		want  string
	}{
		{"unbound client", false, func(t *testing.T, c net.Conn, _ net.Addr) { send(t, c, "lost") }, "the sender's socket is not bound"},
		{"too long", true, func(t *testing.T, c net.Conn, _ net.Addr) { send(t, c, strings.Repeat("x", maxMessage+1)) }, "message of more than 65536 bytes"},
		{"client that does not read", true, func(t *testing.T, c net.Conn, to net.Addr) {
			require.NoError(t, c.Close())
			unconnected, err := net.ListenPacket("unixgram", c.LocalAddr().String())
			require.NoError(t, err)
			t.Cleanup(func() { unconnected.Close() })
			require.NoError(t, unconnected.SetWriteDeadline(time.Now().Add(patience)))
			for range 100 {
				_, err := unconnected.WriteTo([]byte("x"), to)
				require.NoError(t, err, "the server takes no datagram any more, because a client does not read its answers")
			}
		}, "resource temporarily unavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			sockets, address := bind(t, "unixgram")
			r := start(t, Server{}, sockets)
			test.sends(t, sender(t, address, test.bound), address)
			good := sender(t, address, true)
			send(t, good, "still here")
			assert.Equal(t, []string{"still here"}, receive(t, good, 1))
			r.stop()
			require.NoError(t, r.wait(t))
			assert.Regexp(t, `level=WARN msg="datagram dropped" .*`+test.want, r.log.String())
		})
	}
}

// The queue of the socket belongs to systemd, which starts the next process.
func TestIdleServerLosesNoDatagram(t *testing.T) {
	passed := datagramFile(t, "unixgram", filepath.Join(t.TempDir(), "d"), "kept")
	defer passed.Close()
	next := func() Sockets {
		fd, err := syscall.Dup(int(passed.Fd()))
		require.NoError(t, err)
		sockets, err := Sort([]*os.File{os.NewFile(uintptr(fd), "kept")})
		require.NoError(t, err)
		return sockets
	}
	first := next()
	client := sender(t, first.Datagrams[0].LocalAddr(), true)
	require.NoError(t, first.Close())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			send(t, client, itoa(i))
			assert.Equal(t, []string{itoa(i)}, receive(t, client, 1))
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
			require.NoError(t, start(t, Server{IdleTimeout: time.Nanosecond}, next()).wait(t))
		}
	}
}

// packets is a datagram socket on the fake clock of a synctest bubble.
type packets struct {
	net.PacketConn
	in, out chan string

	mu      sync.Mutex
	expired chan struct{} // closed by a deadline
}

func (p *packets) ReadFrom(buf []byte) (int, net.Addr, error) {
	p.mu.Lock()
	expired := p.expired
	p.mu.Unlock()
	select {
	case message := <-p.in:
		return copy(buf, message), p.LocalAddr(), nil
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (p *packets) WriteTo(message []byte, _ net.Addr) (int, error) {
	p.out <- string(message)
	return len(message), nil
}

// SetDeadline takes every deadline but the zero time as past.
func (p *packets) SetDeadline(deadline time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if deadline.IsZero() {
		p.expired = make(chan struct{})
	} else {
		close(p.expired)
	}
	return nil
}

func (p *packets) Close() error        { return nil }
func (p *packets) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9091} }

func TestIdleTimeoutStartsAfterTheLastDatagram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 5 * time.Second
		p := &packets{in: make(chan string), out: make(chan string)}
		r := start(t, Server{IdleTimeout: idle}, Sockets{Datagrams: []Datagram{{PacketConn: p, Name: "packets"}}})
		for range 3 {
			time.Sleep(4 * time.Second)
			select {
			case p.in <- "ping":
			case <-r.done:
				require.FailNow(t, "the server ended as idle 4 s after a datagram")
			}
			assert.Equal(t, "ping", <-p.out)
		}
		last := time.Now()
		require.NoError(t, r.wait(t))
		assert.Equal(t, idle, time.Since(last), "end after the last datagram")
	})
}
