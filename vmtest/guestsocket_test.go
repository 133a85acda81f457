package vmtest

import (
	"net"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listen listens, and returns the port.
func listen(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// The processes that are named have a socket at the address that is asked for, or one for
// every address.
func TestListenerIsAtTheAddress(t *testing.T) {
	const (
		there = `^a socket there is open in vmtest\.test\[\d+\]`
		none  = "^no process has a socket there open$"
	)
	every := func(local string) string {
		return `^a socket for every address, ` + local + `:\d+, is open in vmtest\.test\[\d+\]`
	}
	m := machineHere(t)
	for _, test := range []struct{ network, listens, host, want string }{
		{"tcp4", "127.0.0.2:0", "127.0.0.2", there},
		{"tcp4", "127.0.0.2:0", "[::ffff:127.0.0.2]", there},
		{"tcp4", "127.0.0.2:0", "127.0.0.1", none},
		{"tcp4", "127.0.0.2:0", "localhost", none},
		{"tcp4", "127.0.0.1:0", "[::1]", none},
		{"tcp4", "127.0.0.1:0", "localhost", there},
		{"tcp4", "127.0.0.1:0", "", there},
		{"tcp4", "127.0.0.1:0", "0.0.0.0", there},
		{"tcp4", "127.0.0.1:0", "[::]", none},
		{"tcp6", "[::1]:0", "[::1]", there},
		{"tcp6", "[::1]:0", "[::]", there},
		{"tcp6", "[::1]:0", "127.0.0.1", none},
		{"tcp4", "0.0.0.0:0", "127.0.0.2", every(`0\.0\.0\.0`)},
		{"tcp4", "0.0.0.0:0", "[::1]", none},
		{"tcp6", "[::]:0", "[::1]", every(`\[::\]`)},
		{"tcp6", "[::]:0", "127.0.0.2", none},
		{"tcp", ":0", "127.0.0.2", every(`\*`)},
		{"tcp", ":0", "[::1]", every(`\*`)},
	} {
		// Its listener ends with it: the kernel may give the port of one address to another.
		t.Run(test.listens+" asked for "+test.host, func(t *testing.T) {
			port := listen(t, test.network, test.listens)
			assert.Regexp(t, test.want, m.listener("tcp", test.host+":"+port))
		})
	}
}

// A connection has the address itself, also if its listener has every address.
func TestListenerAndItsConnection(t *testing.T) {
	m := machineHere(t)
	l, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	require.NoError(t, err)
	defer conn.Close()
	accepted, err := l.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	assert.Regexp(t, `^a socket there is open in .*; a socket for every address, \*:\d+, is open in`, m.listener("tcp", "127.0.0.1:"+port))
	assert.Regexp(t, `^a socket for every address, \*:\d+, is open in`, m.listener("tcp", "127.0.0.2:"+port))
}

// A host's name is looked up in the guest.
func TestListenerAtAName(t *testing.T) {
	m := machineHere(t)
	port := listen(t, "tcp4", "127.0.0.1:0")
	assert.Regexp(t, "^what listens there could not be looked up: ", m.listener("tcp", "no-such-host.invalid:"+port))
}

// A path is no pattern.
func TestListenerAtAPath(t *testing.T) {
	m := machineHere(t)
	dir := t.TempDir()
	for _, name := range []string{"a b", "echo", "x[1]"} {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		assert.Regexp(t, "^a socket there is open in vmtest", m.listener("unix", filepath.Join(dir, name)))
	}
	for _, name := range []string{"a", "b", "ech", "Echo", "*", "x1"} {
		assert.Equal(t, "no process has a socket there open", m.listener("unix", filepath.Join(dir, name)), name)
	}
}

// Sockets of datagrams are found, too.
func TestListenerOfDatagrams(t *testing.T) {
	m := machineHere(t)
	udp, err := net.ListenPacket("udp", ":0")
	require.NoError(t, err)
	t.Cleanup(func() { udp.Close() })
	_, port, err := net.SplitHostPort(udp.LocalAddr().String())
	require.NoError(t, err)
	assert.Regexp(t, `^a socket for every address, \*:\d+, is open in`, m.listener("udp", "127.0.0.1:"+port))
	path := filepath.Join(t.TempDir(), "gram")
	gram, err := net.ListenPacket("unixgram", path)
	require.NoError(t, err)
	t.Cleanup(func() { gram.Close() })
	assert.Regexp(t, "^a socket there is open in vmtest", m.listener("unixgram", path))
}

// A socket at the address itself serves it, and not one for every address.
func TestSpecificSocketIsPreferred(t *testing.T) {
	const out = `LISTEN 0 128 *:80 *:* users:(("a",pid=1,fd=3))
LISTEN 0 128 0.0.0.0%lo:80 0.0.0.0:* users:(("b",pid=2,fd=3))
LISTEN 0 128 127.0.0.1:80 0.0.0.0:* users:(("c",pid=3,fd=3))
`
	m := machineHere(t)
	ask := func(host string) (locals []string) {
		hosts, err := m.addressesOf(t.Context(), "tcp", host)
		require.NoError(t, err)
		for _, s := range portSockets(out, hosts) {
			locals = append(locals, s.Local)
		}
		return locals
	}
	assert.Equal(t, []string{"127.0.0.1:80"}, ask("127.0.0.1"))
	assert.Equal(t, []string{"*:80", "0.0.0.0%lo:80"}, ask("127.0.0.2"))
	assert.Equal(t, []string{"*:80"}, ask("fe80::1%lan0"))
	assert.Equal(t, []string{"127.0.0.1:80", "*:80"}, ask("localhost"), "the first serves 127.0.0.1, the second ::1")
}

// Sockets of vsock are those at the port, with any CID.
func TestSocketsOfVsock(t *testing.T) {
	const out = `v_str LISTEN 0 0 *:9091 *:* users:(("systemd",pid=1,fd=40))
v_str ESTAB 0 0 1:9091 1:700 users:(("cat",pid=90,fd=1))
v_str ESTAB 0 0 1:700 1:9091 users:(("agent",pid=80,fd=9))
v_str LISTEN 0 0 *:19091 *:* users:(("other",pid=2,fd=3))
`
	sockets := vsockSockets(out, "9091")
	require.Len(t, sockets, 1)
	assert.Equal(t, []string{"systemd", "cat"}, ownerNames(sockets[0].Owners))
	assert.Empty(t, vsockSockets(out, "091"))
}

func ownerNames(lines string) (names []string) {
	for _, match := range owner.FindAllStringSubmatch(lines, -1) {
		names = append(names, match[1])
	}
	return names
}
