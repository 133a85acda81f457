package host

import (
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestNameless(t *testing.T) {
	dir := t.TempDir()
	f, err := Nameless(dir)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("x")
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

func TestNamelessWhereTheFileSystemHasNone(t *testing.T) {
	errs := map[string]error{"EISDIR": namelessError("/dir", unix.EISDIR), "NFS": namelessError("/dir", unix.EOPNOTSUPP)}
	if os.Geteuid() == 0 { // others may not write there
		_, errs["proc"] = Nameless("/proc")
	}
	for name, err := range errs {
		var lacks *Error
		require.ErrorAs(t, err, &lacks, name)
		assert.Contains(t, lacks.Cause, "lacks O_TMPFILE", name)
		assert.Contains(t, lacks.Cure, "VMTEST_CACHE", name)
	}
	_, err := Nameless(filepath.Join(t.TempDir(), "no"))
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "VMTEST_CACHE")
	var lacks *Error
	require.ErrorAs(t, namelessError("/dir", unix.ENOSPC), &lacks)
	assert.Equal(t, SpaceCure, lacks.Cure)
}

func TestSpace(t *testing.T) {
	dir := t.TempDir()
	free, err := FreeSpace(dir)
	require.NoError(t, err)
	assert.Positive(t, free)
	free, err = FreeSpace("/proc")
	require.NoError(t, err)
	assert.EqualValues(t, math.MaxInt64, free, "it counts no blocks")
	_, err = FreeSpace(filepath.Join(dir, "no"))
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, CheckSpace(dir, 1, "a build"))
	err = CheckSpace(dir, 1<<60, "a build")
	var lacks *Error
	require.ErrorAs(t, err, &lacks)
	assert.Regexp(t, "^no space: "+dir+" has [0-9]+ MB free, a build needs 1152921504606 MB$", lacks.Cause)
	assert.Contains(t, lacks.Cure, "VMTEST_CACHE")

	full := &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	require.ErrorAs(t, NoSpace(full), &lacks)
	assert.ErrorIs(t, NoSpace(full), syscall.ENOSPC)
	assert.Equal(t, io.EOF, NoSpace(io.EOF))
	known := &Error{Cause: "x", Err: syscall.ENOSPC}
	assert.Equal(t, error(known), NoSpace(known))
}

func TestPairs(t *testing.T) {
	a, b, err := ConnPair("test")
	require.NoError(t, err)
	talk(t, a, b)
	fileA, fileB, err := SocketPair("test")
	require.NoError(t, err)
	assert.Equal(t, "test", fileB.Name())
	conn, err := UnixConn(fileA)
	require.NoError(t, err)
	require.ErrorIs(t, fileA.Close(), os.ErrClosed, "it was taken over")
	talk(t, conn, fileB)

	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	_, err = UnixConn(f)
	require.ErrorContains(t, err, "use /dev/null socket: ")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	tcp, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	_, err = UnixConn(tcp)
	require.Error(t, err)
}

// talk sends from a to b until a is closed.
func talk(t *testing.T, a, b io.ReadWriteCloser) {
	t.Helper()
	_, err := a.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, a.Close())
	data, err := io.ReadAll(b)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(data))
	require.NoError(t, b.Close())
}
