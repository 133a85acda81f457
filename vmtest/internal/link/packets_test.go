package link_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/lack"
	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// answer sends each packet back to its sender, in capitals.
func answer(conn net.PacketConn) {
	p := make([]byte, 70_000)
	for {
		n, from, err := conn.ReadFrom(p)
		if err != nil {
			return
		}
		conn.WriteTo([]byte(strings.ToUpper(string(p[:n]))), from)
	}
}

// Packets stay what they are: each apart, whole, an empty one too.
func TestDialPackets(t *testing.T) {
	g := start(t, &agent.Server{})
	dir := t.TempDir()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer udp.Close()
	go answer(udp)
	gram, err := net.ListenPacket("unixgram", filepath.Join(dir, "gram"))
	require.NoError(t, err)
	defer gram.Close()
	go answer(gram)
	listen(t, "unixpacket", filepath.Join(dir, "packet"), func(conn net.Conn) {
		p := make([]byte, 70_000)
		for {
			n, err := conn.Read(p)
			if err != nil || n == 0 {
				return
			}
			conn.Write([]byte(strings.ToUpper(string(p[:n]))))
		}
	})
	for _, dial := range [][2]string{
		{"udp", udp.LocalAddr().String()}, {"unixgram", filepath.Join(dir, "gram")}, {"unixpacket", filepath.Join(dir, "packet")},
	} {
		conn, err := g.Dial(testContext(t), dial[0], dial[1])
		require.NoError(t, err, dial)
		packets := []string{"one", "two words", strings.Repeat("x", 60_000)}
		if dial[0] != "unixpacket" { // where an empty one looks like the end
			packets = append(packets, "")
		}
		p := make([]byte, 70_000)
		for _, packet := range packets {
			n, err := conn.Write([]byte(packet))
			require.NoError(t, err)
			assert.Equal(t, len(packet), n)
			n, err = conn.Read(p)
			require.NoError(t, err, "%s of %d bytes", dial[0], len(packet))
			assert.Equal(t, strings.ToUpper(packet), string(p[:n]))
		}
		_, err = conn.Write(make([]byte, 70_000))
		assert.ErrorIs(t, err, syscall.EMSGSIZE)
		require.NoError(t, conn.SetReadDeadline(time.Unix(1, 0)))
		_, err = conn.Read(p)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, conn.Close())
	}
}

func TestDialPacketsRefused(t *testing.T) {
	g := start(t, &agent.Server{})
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	address := udp.LocalAddr().String()
	require.NoError(t, udp.Close())
	conn, err := g.Dial(testContext(t), "udp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("to nobody"))
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 10))
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.ErrorContains(t, err, address+" (guest)")

	_, err = g.Dial(testContext(t), "unixgram", filepath.Join(t.TempDir(), "none"))
	assert.ErrorIs(t, err, syscall.ENOENT)
	_, err = g.Dial(testContext(t), "udp", "nobody.invalid:1")
	assert.Error(t, err)
}

// A network or an address that is wrong is an error before the guest is asked.
func TestDialWrongAddress(t *testing.T) {
	g := start(t, &agent.Server{})
	for _, test := range []struct{ network, address, want string }{
		{"sctp", "127.0.0.1:1", "unknown network sctp, not one of tcp, tcp4, tcp6, udp, udp4, udp6, unix, unixgram, unixpacket, vsock, fifo, mqueue"},
		{"", "x", "not one of tcp"},
		{"vsock", "localhost:9091", "the CID is not a number"},
		{"vsock", "1:http", "the port is not a number"},
		{"tcp", "127.0.0.1", "missing port"},
	} {
		_, err := g.Dial(testContext(t), test.network, test.address)
		assert.ErrorContains(t, err, test.want, "%s %s", test.network, test.address)
	}
	_, err := g.Dial(testContext(t), "sctp", "127.0.0.1:1")
	assert.ErrorAs(t, err, new(net.UnknownNetworkError))
	_, err = g.DialFrom(testContext(t), link.Source{Address: "127.0.0.1"}, "vsock", "9091")
	assert.ErrorContains(t, err, "want CID:PORT or PORT", "the source")
}

// A daemon sees the source that a test chooses.
func TestDialFrom(t *testing.T) {
	g := start(t, &agent.Server{})
	seen := make(chan string, 1)
	address := listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { seen <- conn.RemoteAddr().String() })
	for _, from := range []string{"127.0.0.2", "127.0.0.3:34567"} {
		conn, err := g.DialFrom(testContext(t), link.Source{Address: from}, "tcp", address)
		require.NoError(t, err)
		assert.Contains(t, <-seen, from)
		conn.Close()
	}
	_, err := g.DialFrom(testContext(t), link.Source{Address: "192.0.2.1"}, "tcp", address)
	assert.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	_, err = g.DialFrom(testContext(t), link.Source{Address: "somewhere"}, "tcp", address)
	assert.ErrorContains(t, err, `source "somewhere"`)
	_, err = g.DialFrom(testContext(t), link.Source{User: "nobody-here"}, "tcp", address)
	assert.ErrorContains(t, err, "nobody-here")
}

// A daemon sees the credentials of the user that a test chooses (SO_PEERCRED, socket(7)).
func TestDialAsUser(t *testing.T) {
	if os.Getuid() != 0 {
		lack.Skip(t, "only root can become another user")
	}
	g := start(t, &agent.Server{})
	path := "@" + filepath.Join(t.TempDir(), "socket") // which any user may connect to
	seen := make(chan *unix.Ucred, 1)
	listen(t, "unix", path, func(conn net.Conn) {
		raw, err := conn.(*net.UnixConn).SyscallConn()
		if err != nil {
			return
		}
		raw.Control(func(fd uintptr) {
			cred, _ := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
			seen <- cred
		})
	})
	conn, err := g.DialFrom(testContext(t), link.Source{User: "nobody"}, "unix", path)
	require.NoError(t, err)
	defer conn.Close()
	assert.Equal(t, uint32(65534), (<-seen).Uid)
	plain, err := g.Dial(testContext(t), "unix", path)
	require.NoError(t, err)
	defer plain.Close()
	assert.Equal(t, uint32(0), (<-seen).Uid, "this process is still root")
}
