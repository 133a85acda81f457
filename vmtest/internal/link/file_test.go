package link_test

import (
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/lack"
	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// fileConn dials a FIFO or a queue of a test's agent.
func fileConn(t *testing.T, network, address string) net.Conn {
	t.Helper()
	g := start(t, &agent.Server{})
	conn, err := g.DialFrom(testContext(t), link.Source{}, network, address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func makeFIFO(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(path, 0o600))
	return path
}

// What is written arrives, to the end, also right before a Close.
func TestFIFOWrite(t *testing.T) {
	path := makeFIFO(t)
	conn := fileConn(t, "fifo", path)
	_, err := conn.Write([]byte("too early"))
	assert.ErrorIs(t, err, syscall.ENXIO)
	assert.EqualError(t, err, "write fifo "+path+" (guest): no such device or address: no process has the FIFO open for reading")
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	require.NoError(t, err)
	defer reader.Close()
	long := strings.Repeat("0123456789", 30_000)
	_, err = conn.Write([]byte(long[:1]))
	require.NoError(t, err)
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write([]byte(long[1:]))
		conn.Close()
		written <- err
	}()
	got := make([]byte, len(long))
	_, err = io.ReadFull(reader, got)
	require.NoError(t, err)
	assert.Equal(t, long, string(got))
	require.NoError(t, <-written)
	_, err = reader.Read(got)
	assert.Equal(t, io.EOF, err)
	_, err = conn.Write([]byte("x"))
	assert.ErrorIs(t, err, net.ErrClosed)
}

// A reader that leaves is an error of a later Write, not a hang.
func TestFIFOReaderLeaves(t *testing.T) {
	path := makeFIFO(t)
	conn := fileConn(t, "fifo", path)
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	require.NoError(t, err)
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	reader.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	for err == nil {
		_, err = conn.Write([]byte("x"))
	}
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

// A Read waits for a writer that is yet to come, as long as its deadline allows, and ends with
// it. The connection takes nothing before a Read.
func TestFIFORead(t *testing.T) {
	path := makeFIFO(t)
	conn := fileConn(t, "fifo", path)
	p := make([]byte, 100)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := conn.Read(p)
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	for _, text := range []string{"one", "two"} {
		go os.WriteFile(path, []byte(text), 0) // which waits for a reader
		got, err := io.ReadAll(conn)
		require.NoError(t, err)
		assert.Equal(t, text, string(got))
	}
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Read(p)
		ended <- err
	}()
	conn.Close()
	assert.Error(t, <-ended)
}

func TestFileRefused(t *testing.T) {
	g := start(t, &agent.Server{})
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, test := range []struct{ network, address, want string }{
		{"fifo", file, "this is not a FIFO"},
		{"fifo", file + "-none", "no such file"},
		{"mqueue", "/vmtest-none", "no such file"},
		{"mqueue", "none", `"none" is not the name of a message queue: want /NAME`},
		{"mqueue", "/a/b", "want /NAME"},
		{"mqueue", "/", "want /NAME"},
	} {
		_, err := g.DialFrom(testContext(t), link.Source{}, test.network, test.address)
		assert.ErrorContains(t, err, test.want, "%s %s", test.network, test.address)
		assert.ErrorContains(t, err, "dial "+test.network+" "+test.address+" (guest): ")
	}
	_, err := g.DialFrom(testContext(t), link.Source{}, "fifo", file+"-none")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = g.DialFrom(testContext(t), link.Source{Address: "x"}, "fifo", file)
	assert.ErrorContains(t, err, "no source address")
}

// makeQueue makes a queue of 2 messages of at most 100 bytes.
func makeQueue(t *testing.T) (name string) {
	t.Helper()
	bare := "vmtest-" + filepath.Base(t.TempDir()) + "-" + t.Name()
	path, err := unix.BytePtrFromString(bare)
	require.NoError(t, err)
	attr := struct{ flags, maxMsg, msgSize, curMsgs, a, b, c, d int }{maxMsg: 2, msgSize: 100}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(path)), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600, uintptr(unsafe.Pointer(&attr)), 0, 0)
	if errno != 0 {
		lack.Skip(t, "this host makes no message queue: "+errno.Error())
	}
	unix.Close(int(fd))
	t.Cleanup(func() { unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(path)), 0, 0) })
	return "/" + bare
}

// One Write is one message, one Read is one message, and the connection takes no other.
func TestQueue(t *testing.T) {
	name := makeQueue(t)
	conn, other := fileConn(t, "mqueue", name), fileConn(t, "mqueue", name)
	p := make([]byte, 200)
	for _, want := range [][]string{{"one", ""}, {strings.Repeat("x", 100), "two words"}} {
		for _, text := range want {
			n, err := conn.Write([]byte(text))
			require.NoError(t, err)
			assert.Len(t, text, n)
		}
		n, err := conn.Read(p)
		require.NoError(t, err)
		assert.Equal(t, want[0], string(p[:n]))
		n, err = other.Read(p)
		require.NoError(t, err)
		assert.Equal(t, want[1], string(p[:n]))
	}
	_, err := conn.Write(make([]byte, 101))
	assert.ErrorIs(t, err, syscall.EMSGSIZE)
	assert.EqualError(t, err, "write mqueue "+name+" (guest): message too long: it has 101 bytes, and the queue takes 100 (MessageQueueMessageSize=)")
	_, err = conn.Write(make([]byte, 1<<20))
	assert.ErrorIs(t, err, syscall.EMSGSIZE)
}

// A deadline ends a Read of an empty queue and a Write to a full one. What comes later is not
// lost.
func TestQueueDeadlines(t *testing.T) {
	name := makeQueue(t)
	conn, other := fileConn(t, "mqueue", name), fileConn(t, "mqueue", name)
	p := make([]byte, 200)
	require.NoError(t, conn.SetDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := conn.Read(p)
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = other.Write([]byte("late"))
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Time{}))
	n, err := conn.Read(p)
	require.NoError(t, err)
	assert.Equal(t, "late", string(p[:n]))
	for range 2 {
		_, err = conn.Write([]byte("fills"))
		require.NoError(t, err)
	}
	require.NoError(t, conn.SetDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = conn.Write([]byte("one too many"))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
}
