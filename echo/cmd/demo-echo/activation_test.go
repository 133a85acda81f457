package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// With StandardInput=socket the connection is descriptors 0 and 1. It is descriptor
// 2, too, if the unit lacks StandardError=.
func TestConnectionOnStandardInput(t *testing.T) {
	for _, test := range []struct {
		name          string
		stdout, stder bool
	}{
		{name: "stdin alone"}, {name: "stdin and stdout", stdout: true}, {name: "all three", stdout: true, stder: true},
	} {
		if t.Failed() { // all others would wait as long
			return
		}
		t.Run(test.name, func(t *testing.T) {
			passed, client := pair(t)
			cmd := exec.Command(binary)
			cmd.Env = append(os.Environ(), "REMOTE_ADDR=192.0.2.1", "REMOTE_PORT=4711")
			cmd.Stdin = passed
			if test.stdout {
				cmd.Stdout = passed
			}
			if test.stder {
				cmd.Stderr = passed
			}
			p := launch(t, cmd)
			// The client sees the end although passed is still open here.
			roundTrip(t, client, "socket activation works\n", "while another process has the socket")
			require.NoError(t, passed.Close())
			assert.Equal(t, 0, p.wait(t))
			if !test.stder {
				assert.Contains(t, p.stderr.String(), "listener=stdin event=accept")
				assert.Contains(t, p.stderr.String(), "remote_addr=192.0.2.1 remote_port=4711")
				assert.Contains(t, p.stderr.String(), "bytes=24")
			}
		})
	}
}

func TestListenerOnStandardInput(t *testing.T) {
	file, addr := listener(t, "tcp", "127.0.0.1:0")
	cmd := exec.Command(binary)
	cmd.Stdin = file
	p := launch(t, cmd)
	require.NoError(t, file.Close())
	roundTrip(t, dial(t, "tcp", addr), "one\n")
	roundTrip(t, dial(t, "tcp", addr), "two\n")
	p.signal(t, syscall.SIGTERM)
	assert.Equal(t, 0, p.wait(t))
}

func TestConnectionAsDescriptor3(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client := dial(t, "tcp", l.Addr().String())
	conn, err := l.Accept()
	require.NoError(t, err)
	file, err := conn.(*net.TCPConn).File()
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	p := activated(t, "connection", []*os.File{file}, nil)
	roundTrip(t, client, "socket activation works\n")
	assert.Equal(t, 0, p.wait(t))
	assert.Contains(t, p.stderr.String(), "peer="+client.LocalAddr().String()+" listener=connection")
}

func TestNamedListeners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	inet, addr := listener(t, "tcp", "127.0.0.1:0")
	local, _ := listener(t, "unix", path)
	p := activated(t, "inet:local", []*os.File{inet, local}, nil)
	roundTrip(t, dial(t, "tcp", addr), "over TCP\n")
	roundTrip(t, dial(t, "unix", path), "over a local socket\n")
	roundTrip(t, dial(t, "tcp", addr), "the same process again\n")
	p.signal(t, syscall.SIGTERM)
	assert.Equal(t, 0, p.wait(t))
	log := p.stderr.String()
	assert.Contains(t, log, "event=listen listener=inet address="+addr)
	assert.Contains(t, log, "event=listen listener=local address="+path)
	assert.Equal(t, 2, strings.Count(log, "listener=inet event=accept"), log)
	assert.Equal(t, 1, strings.Count(log, "listener=local event=accept"), log)
	assert.FileExists(t, path, "socket file after the exit")
}

func TestDatagramSocket(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer conn.Close()
	file, err := conn.(*net.UDPConn).File()
	require.NoError(t, err)
	p := activated(t, "udp", []*os.File{file}, nil)
	client := dial(t, "udp", conn.LocalAddr().String())
	ping(t, client)
	p.signal(t, syscall.SIGTERM)
	assert.Equal(t, 0, p.wait(t))
	assert.Contains(t, p.stderr.String(), "listener=udp event=datagram peer="+client.LocalAddr().String()+" bytes=4")
}

func TestRawSocketIsRefused(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "notify")
	next := datagrams(t, path)
	p := activated(t, "raw", []*os.File{os.NewFile(uintptr(fd), "raw")}, []string{"NOTIFY_SOCKET=" + path})
	assert.Equal(t, 1, p.wait(t))
	_, err = dial(t, "unixgram", path).Write([]byte("none"))
	require.NoError(t, err)
	assert.Equal(t, "none", next(), "what systemd gets first of a daemon without a socket to serve")
	assert.Contains(t, p.stderr.String(), "demo-echo: sort descriptor 1 of 1 (raw): raw socket; need a socket of ListenStream=, ListenSequentialPacket= or ListenDatagram=")
}

func TestIdleTimeoutEndsTheProcess(t *testing.T) {
	file, _ := listener(t, "tcp", "127.0.0.1:0")
	p := activated(t, "echo", []*os.File{file}, nil, "--idle-timeout=1ms")
	assert.Equal(t, 0, p.wait(t))
	assert.Contains(t, p.stderr.String(), "event=idle")
}

// The daemon accepts the remaining clients when descriptors are free again.
func TestOutOfDescriptors(t *testing.T) {
	file, addr := listener(t, "tcp", "127.0.0.1:0")
	log := lines{wanted: "too many open files", seen: make(chan struct{})}
	p := activatedLogging(t, &log, file, nofileEnv+"=16")
	var conns []net.Conn
	for range 30 {
		conns = append(conns, dial(t, "tcp", addr))
	}
	select {
	case <-log.seen:
	case <-time.After(patience):
		require.FailNow(t, "no line of the log contains "+log.wanted)
	}
	for i, conn := range conns {
		roundTrip(t, conn, "line "+string(rune('a'+i%26)))
		require.NoError(t, conn.Close())
	}
	p.signal(t, syscall.SIGTERM)
	assert.Equal(t, 0, p.wait(t))
}
