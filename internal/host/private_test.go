package host

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/lack"
)

// dirOf makes a directory of that mode, whatever the umask.
func dirOf(t *testing.T, mode os.FileMode, path ...string) string {
	t.Helper()
	dir := filepath.Join(path...)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.Chmod(dir, mode))
	return dir
}

// foreignDir is a directory of another user.
func foreignDir(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		return "/usr" // root's
	}
	dir := dirOf(t, 0o755, t.TempDir(), "foreign")
	require.NoError(t, os.Chown(dir, 12345, -1))
	return dir
}

func TestCacheIsMadePrivate(t *testing.T) {
	root := filepath.Join(t.TempDir(), "new", "cache")
	dir, err := CacheIn(root, "images")
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, "images"), dir)
	for _, path := range []string{root, dir} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o700), info.Mode().Perm(), path)
	}
	dir, err = CacheIn(root, "")
	require.NoError(t, err)
	assert.Equal(t, root, dir)

	t.Setenv("VMTEST_CACHE", root)
	dir, err = Cache("images")
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, "images"), dir)
}

func TestCacheRefusesWhatOthersCanWrite(t *testing.T) {
	for _, tc := range []struct {
		name  string
		make  func(t *testing.T, root string) // makes the cache
		cause string                          // without root
		cure  string
	}{
		{"the cache belongs to another user", func(t *testing.T, root string) {
			require.NoError(t, os.Symlink(foreignDir(t), root))
		}, "belongs to user", "chown -R "},
		{"a subdirectory belongs to another user", func(t *testing.T, root string) {
			dirOf(t, 0o700, root)
			require.NoError(t, os.Symlink(foreignDir(t), filepath.Join(root, "images")))
		}, "belongs to user", "chown -R "},
		{"everybody can write in the cache", func(t *testing.T, root string) { dirOf(t, 0o777, root) },
			"other users can write in the cache directory", "chmod -R go-w "},
		{"everybody can write in a subdirectory", func(t *testing.T, root string) {
			dirOf(t, 0o700, root)
			dirOf(t, 0o777, root, "images")
		}, "other users can write in the cache directory", "chmod -R go-w "},
		{"everybody can write in the sticky cache", func(t *testing.T, root string) { dirOf(t, 0o777|os.ModeSticky, root) },
			"other users can write in the cache directory", "chmod -R go-w "},
		{"everybody can write in its parent", func(t *testing.T, root string) {
			dirOf(t, 0o777, filepath.Dir(root))
		}, "every user can replace what lies in", "chmod o-w "},
		{"everybody can write where a link leads through", func(t *testing.T, root string) {
			dirOf(t, 0o700, filepath.Dir(root))
			open := dirOf(t, 0o777, t.TempDir(), "open")
			require.NoError(t, os.Symlink(dirOf(t, 0o700, t.TempDir(), "end"), filepath.Join(open, "link")))
			require.NoError(t, os.Symlink(filepath.Join(open, "link"), root))
		}, "every user can replace what lies in", "chmod o-w "},
		{"it is a file", func(t *testing.T, root string) {
			dirOf(t, 0o700, filepath.Dir(root))
			require.NoError(t, os.WriteFile(root, nil, 0o600))
		}, "make cache directory: ", ""},
		{"a link leads to itself", func(t *testing.T, root string) {
			dirOf(t, 0o700, root)
			require.NoError(t, os.Symlink("images", filepath.Join(root, "images")))
		}, "cache directory: ", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "parent", "cache")
			require.NoError(t, os.Mkdir(filepath.Dir(root), 0o700))
			tc.make(t, root)
			_, err := CacheIn(root, "images")
			var lacks *Error
			require.ErrorAs(t, err, &lacks)
			assert.Contains(t, lacks.Cause, tc.cause)
			assert.Contains(t, lacks.Cure, tc.cure)
			assert.Contains(t, lacks.Cure, "VMTEST_CACHE")
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestCacheRefusesAnotherUsersLink(t *testing.T) {
	if os.Geteuid() != 0 {
		lack.Skip(t, "makes a link of another user: run it as root")
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(dirOf(t, 0o700, dir, "end"), link))
	require.NoError(t, os.Lchown(link, 12345, -1))
	_, err := CacheIn(link, "")
	assert.ErrorContains(t, err, "the symbolic link "+link+" belongs to user 12345")
}

func TestCacheOfAGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		lack.Skip(t, "makes directories of other groups: run it as root")
	}
	root := dirOf(t, 0o770, t.TempDir(), "cache")
	require.NoError(t, os.Chown(root, -1, 0))
	_, err := CacheIn(root, "")
	require.NoError(t, err, "root's own")
	require.NoError(t, os.Chown(root, -1, 12345))
	_, err = CacheIn(root, "")
	assert.ErrorContains(t, err, "other users can write in the cache directory "+root+" (mode 0770)")
	require.NoError(t, os.Chmod(root, 0o750))
	_, err = CacheIn(root, "")
	require.NoError(t, err, "readable by others")
}

func TestCacheMayLieBehindLinks(t *testing.T) {
	dir := t.TempDir()
	dirOf(t, 0o777|os.ModeSticky, dir, "sticky")
	dirOf(t, 0o755, dir, "sticky", "disk")
	dirOf(t, 0o700, dir, "home")
	require.NoError(t, os.Symlink("../sticky/disk", filepath.Join(dir, "home", "cache")))
	_, err := CacheIn(filepath.Join(dir, "home", "cache"), "images")
	require.NoError(t, err)
	assert.DirExists(t, filepath.Join(dir, "sticky", "disk", "images"))
}

func TestOwnGroup(t *testing.T) {
	assert.True(t, ownGroup(1000, 0), "root's")
	u, err := user.LookupId("1") // such as daemon, whose group is daemon
	require.NoError(t, err)
	gid, err := strconv.Atoi(u.Gid)
	require.NoError(t, err)
	assert.True(t, ownGroup(1, gid))
	assert.False(t, ownGroup(1, 100), "users")
	assert.False(t, ownGroup(0, gid), "root trusts only its own group")
	assert.False(t, ownGroup(54321, 54321), "no such user")
}

func TestUnwritableCacheNamesTheVariable(t *testing.T) {
	dir := "/sys" // nobody can make a directory there
	_, err := CacheIn(filepath.Join(dir, "cache"), "images")
	var lacks *Error
	require.ErrorAs(t, err, &lacks)
	assert.Contains(t, lacks.Cause, "make cache directory: ")
	assert.Contains(t, lacks.Cure, "VMTEST_CACHE")
}
