package scenarios

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A command of a user has the user's IDs, groups, environment and home directory.
func TestCommandAsUser(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	g.AddUser(t, vmtest.User{Name: "demo", UID: 1234, Groups: []string{"tty", "audio"}})
	const script = `id; pwd; echo "$HOME $USER $LOGNAME $SHELL $NAME"; echo err > /dev/stderr; touch file`

	for _, user := range []string{"demo", "1234"} {
		r := g.Exec(t, vmtest.Command{Args: []string{"sh", "-c", script}, User: user, Env: []string{"NAME=value"}})
		require.NoError(t, r.Err())
		lines := strings.Split(string(r.Stdout), "\n")
		assert.Equal(t, "uid=1234(demo) gid=1234(demo) groups=1234(demo),5(tty),29(audio)", lines[0])
		assert.Equal(t, []string{"/home/demo", "/home/demo demo demo /bin/sh value", ""}, lines[1:])
		assert.Equal(t, "err\n", string(r.Stderr))
	}
	assert.Equal(t, "demo demo\n", g.Run(t, "stat", "-c", "%U %G", "/home/demo/file"))
	assert.Equal(t, "0\n", g.Run(t, "id", "-G"), "root's groups")

	r := g.Exec(t, vmtest.Command{Args: []string{"pwd"}, User: "nobody"})
	assert.Equal(t, "/\n", string(r.Stdout), "directory of a user without a home directory")
	r = g.Exec(t, vmtest.Command{Args: []string{"sh", "-c", "pwd; echo $HOME"}, User: "root", Dir: "/tmp"})
	assert.Equal(t, "/tmp\n/root\n", string(r.Stdout))
}

// A command of a user that does not exist does not run, and the error says so.
func TestBadUsers(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	for user, want := range map[string]string{
		"nobody-such": `start touch: no user "nobody-such" in /etc/passwd`,
		"4242":        "start touch: no user with UID 4242 in /etc/passwd",
		"-1":          `start touch: no user "-1" in /etc/passwd`,
	} {
		_, err := g.Machine.Exec(t.Context(), vmtest.Command{Args: []string{"touch", "/tmp/ran"}, User: user})
		require.ErrorAs(t, err, new(*vmtest.StartError))
		assert.EqualError(t, err, want)
	}
	_, err := g.Machine.Run(t.Context(), "test", "-e", "/tmp/ran")
	require.ErrorAs(t, err, new(*vmtest.ExitError), "nothing ran")

	_, err = g.Machine.Exec(t.Context(), vmtest.Command{Args: []string{"pwd"}, User: "nobody", Dir: "/root"})
	require.ErrorAs(t, err, new(*vmtest.StartError))
	assert.EqualError(t, err, "start pwd: as UID 65534 in /root: permission denied")
	assert.ErrorIs(t, err, syscall.EACCES)
}

// AddUser adds an ordinary user with a home directory. It refuses what it cannot add.
func TestAddUser(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	alice := g.AddUser(t, vmtest.User{Name: "alice"})
	assert.Equal(t, vmtest.User{Name: "alice", UID: 1000, Home: "/home/alice", Shell: "/bin/sh"}, alice)
	bob := g.AddUser(t, vmtest.User{Name: "bob", Groups: []string{"new", "alice"}, Home: "/srv/50% b/ob", Shell: "/bin/bash"})
	assert.Equal(t, 1001, bob.UID)
	assert.Equal(t, "bob:x:1001:1001::/srv/50% b/ob:/bin/bash\n", g.Run(t, "getent", "passwd", "bob"))
	assert.Equal(t, "bob alice new\n", g.Run(t, "id", "-nG", "bob"))
	assert.Equal(t, "700 bob bob\n", g.Run(t, "stat", "-c", "%a %U %G", bob.Home))
	g.AddUser(t, vmtest.User{Name: "daemon2", UID: 500, Home: "/"})
	assert.Equal(t, "755 root root\n", g.Run(t, "stat", "-c", "%a %U %G", "/"), "a directory that exists")

	for want, u := range map[string]vmtest.User{
		`add user "alice": there is one, with UID 1000`: {Name: "alice"},
		`add user "carol": UID 1001 is taken by bob`:    {Name: "carol", UID: 1001},
	} {
		_, err := g.Machine.AddUser(t.Context(), u)
		assert.EqualError(t, err, want)
	}
}
