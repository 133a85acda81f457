package snapshots

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
)

func TestStoreThatOthersMayWriteIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	for mode, refused := range map[os.FileMode]bool{
		0o700: false, 0o750: false, 0o755: false, 0o720: true, 0o702: true, 0o777: true,
	} {
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chmod(dir, mode))
		_, err := OpenStore(dir)
		if !refused {
			assert.NoError(t, err, "%o", mode)
			continue
		}
		var host *host.Error
		require.ErrorAs(t, err, &host, "%o", mode)
		assert.Contains(t, host.Cause, "refuse the cache directory "+dir+": other users may write it (mode 0")
		assert.Equal(t, "set VMTEST_CACHE to a directory that only its owner may write", host.Cure)
	}
}

func TestStoreOfAnotherUserIsRefused(t *testing.T) {
	dir := "/" // root's, unless this process is root's
	if os.Geteuid() == 0 {
		dir = t.TempDir()
		require.NoError(t, os.Chown(dir, 12345, -1))
	}
	_, err := OpenStore(dir)
	assert.ErrorAs(t, err, new(*host.Error))
	assert.ErrorContains(t, err, "it belongs to user")
}

func TestStoreInAFileIsRefused(t *testing.T) {
	assert.ErrorContains(t, checkOwner(os.DevNull), "it is not a directory")
}

// TestFileSystemWithoutNamelessFiles has procfs for one of those, as NFS is.
func TestFileSystemWithoutNamelessFiles(t *testing.T) {
	s := &Store{dir: "/proc"}
	_, err := s.Nameless()
	var host *host.Error
	require.ErrorAs(t, err, &host)
	assert.Equal(t, "make a file in /proc: its file system has no files without a name (O_TMPFILE)", host.Cause)
	assert.Contains(t, host.Cure, "set VMTEST_CACHE")
	assert.ErrorIs(t, err, host.Err)

	s = &Store{dir: filepath.Join(t.TempDir(), "absent")}
	_, err = s.Nameless()
	assert.ErrorIs(t, err, unix.ENOENT)
	assert.ErrorContains(t, err, s.dir)
}
