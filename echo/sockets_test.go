package echo

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listenerFile returns a listening socket, as a service manager passes it.
func listenerFile(t *testing.T, network, address, name string) *os.File {
	t.Helper()
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	if unix, ok := l.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false) // t.TempDir removes it
	}
	defer l.Close()
	file, err := l.(interface{ File() (*os.File, error) }).File()
	require.NoError(t, err)
	return renamed(t, file, name)
}

// datagramFile is listenerFile for a datagram socket.
func datagramFile(t *testing.T, network, address, name string) *os.File {
	t.Helper()
	conn, err := net.ListenPacket(network, address)
	require.NoError(t, err)
	defer conn.Close()
	file, err := conn.(interface{ File() (*os.File, error) }).File()
	require.NoError(t, err)
	return renamed(t, file, name)
}

// renamed returns file under another name, as from LISTEN_FDNAMES. It closes file.
func renamed(t *testing.T, file *os.File, name string) *os.File {
	t.Helper()
	defer file.Close()
	fd, err := syscall.Dup(int(file.Fd()))
	require.NoError(t, err)
	return os.NewFile(uintptr(fd), name)
}

// socketpair returns the ends of a connected AF_UNIX socket.
func socketpair(t *testing.T, kind int) (passed, client *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, kind|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	client = os.NewFile(uintptr(fds[1]), "client")
	t.Cleanup(func() { client.Close() })
	return os.NewFile(uintptr(fds[0]), "connection"), client
}

// acceptedTCP returns an accepted connection and its client.
func acceptedTCP(t *testing.T) (passed *os.File, client *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { dialed.Close() })
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File()
	require.NoError(t, err)
	return renamed(t, file, "connection"), dialed.(*net.TCPConn)
}

func TestSort(t *testing.T) {
	pair := func(kind int) func(*testing.T) []*os.File {
		return func(t *testing.T) []*os.File {
			passed, _ := socketpair(t, kind)
			return []*os.File{passed}
		}
	}
	for _, test := range []struct {
		name      string
		files     func(*testing.T) []*os.File
		listeners []string // networks and names
		conn      string   // name
		wantErr   string
	}{
		{
			name: "one TCP listener",
			files: func(t *testing.T) []*os.File {
				return []*os.File{listenerFile(t, "tcp", "127.0.0.1:0", "demo-echo.socket")}
			},
			listeners: []string{"tcp demo-echo.socket"},
		},
		{
			name: "several listeners keep order and names, even equal names",
			files: func(t *testing.T) []*os.File {
				return []*os.File{
					listenerFile(t, "unix", filepath.Join(t.TempDir(), "s"), "local"),
					listenerFile(t, "tcp", "127.0.0.1:0", "inet"),
					listenerFile(t, "unix", "@echo-sort-test-"+filepath.Base(t.TempDir()), "local"),
				}
			},
			listeners: []string{"unix local", "tcp inet", "unix local"},
		},
		{
			name: "an accepted TCP connection",
			files: func(t *testing.T) []*os.File {
				passed, _ := acceptedTCP(t)
				return []*os.File{passed}
			},
			conn: "connection",
		},
		{name: "a unix connection", files: pair(syscall.SOCK_STREAM), conn: "connection"},
		{name: "no files", files: func(*testing.T) []*os.File { return nil }},
		{
			name: "a sequential packet connection", files: pair(syscall.SOCK_SEQPACKET), conn: "connection",
		},
		{
			name: "sockets of all types",
			files: func(t *testing.T) []*os.File {
				return []*os.File{
					listenerFile(t, "unixpacket", filepath.Join(t.TempDir(), "s"), "packets"),
					datagramFile(t, "udp", "127.0.0.1:0", "inet"),
					listenerFile(t, "tcp", "127.0.0.1:0", "stream"),
					datagramFile(t, "unixgram", filepath.Join(t.TempDir(), "d"), "local"),
				}
			},
			listeners: []string{"unixpacket packets", "tcp stream", "udp inet", "unixgram local"},
		},
		{
			name: "stored connections among listeners",
			files: func(t *testing.T) []*os.File {
				first, _ := acceptedTCP(t)
				second, _ := acceptedTCP(t)
				return []*os.File{
					listenerFile(t, "tcp", "127.0.0.1:0", "inet"),
					renamed(t, first, "stored-17-inet"), renamed(t, second, "stored-18-a-b"),
				}
			},
			listeners: []string{"tcp inet", "stored inet", "stored a-b"},
		},
		{
			name: "a netlink socket",
			files: func(t *testing.T) []*os.File {
				fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, 0)
				require.NoError(t, err)
				return []*os.File{os.NewFile(uintptr(fd), "netlink")}
			},
			wantErr: "raw socket; need a socket of ListenStream=",
		},
		{
			name: "a pipe, as from ListenFIFO=",
			files: func(t *testing.T) []*os.File {
				r, w, err := os.Pipe()
				require.NoError(t, err)
				t.Cleanup(func() { w.Close() })
				return []*os.File{renamed(t, r, "fifo")}
			},
			wantErr: "sort descriptor 1 of 1 (fifo): not a socket; need a socket of ListenStream=, ListenSequentialPacket= or ListenDatagram=",
		},
		{
			name: "a connection among listeners",
			files: func(t *testing.T) []*os.File {
				passed, _ := acceptedTCP(t)
				return []*os.File{listenerFile(t, "tcp", "127.0.0.1:0", "inet"), passed}
			},
			wantErr: "sort descriptor 2 of 2 (connection): accepted connection among several descriptors",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := test.files(t)
			sockets, err := Sort(files)
			t.Cleanup(func() { sockets.Close() })
			for _, f := range files {
				assert.ErrorIs(t, f.Close(), os.ErrClosed, "file after Sort")
			}
			if test.wantErr != "" {
				require.ErrorContains(t, err, test.wantErr)
				assert.Empty(t, sockets)
				return
			}
			require.NoError(t, err)
			var listeners []string
			for _, l := range sockets.Listeners {
				listeners = append(listeners, l.Addr().Network()+" "+l.Name)
			}
			for _, d := range sockets.Datagrams {
				listeners = append(listeners, d.LocalAddr().Network()+" "+d.Name)
			}
			for _, c := range sockets.Stored {
				listeners = append(listeners, "stored "+c.Name)
			}
			assert.Equal(t, test.listeners, listeners, "networks and names of the sockets")
			if test.conn == "" {
				assert.Nil(t, sockets.Conn)
				return
			}
			require.NotNil(t, sockets.Conn)
			assert.Equal(t, test.conn, sockets.Conn.Name)
		})
	}
}

func TestCloseKeepsTheSocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	sockets, err := Sort([]*os.File{listenerFile(t, "unix", path, "local")})
	require.NoError(t, err)
	require.NoError(t, sockets.Close())
	_, err = os.Lstat(path)
	assert.NoError(t, err, "socket file after Close")
}

func TestPeerName(t *testing.T) {
	passed, _ := socketpair(t, syscall.SOCK_STREAM)
	unix, err := Sort([]*os.File{passed})
	require.NoError(t, err)
	defer unix.Close()
	assert.Equal(t, "pid="+itoa(os.Getpid())+",uid="+itoa(os.Getuid()), peerName(unix.Conn.Conn))

	passed, client := acceptedTCP(t)
	tcp, err := Sort([]*os.File{passed})
	require.NoError(t, err)
	defer tcp.Close()
	assert.Equal(t, client.LocalAddr().String(), peerName(tcp.Conn.Conn))
}
