package scenarios

import (
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest"
)

// debianPackages are Debian's own, unchanged. All tests of packages use the same list, and
// so one image.
var debianPackages = []string{
	"dbus-broker", "gunicorn", "micro-httpd", "openssh-server", "python3-systemd", "rpcbind", "systemd-journal-remote",
}

// startPackaged starts a guest with debianPackages.
func startPackaged(t *testing.T) *vmtest.Guest {
	t.Helper()
	needPackages(t)
	return vmtest.Start(t, vmtest.Config{Packages: debianPackages})
}

// The units of packages are as the distribution leaves them: enabled, and started at boot.
func TestPackagesAutostart(t *testing.T) {
	t.Parallel()
	g := startPackaged(t)
	assert.Equal(t, debianPackages, g.Machine.Image().Added)
	for _, unit := range []string{"ssh.service", "rpcbind.service", "rpcbind.socket"} {
		assertShow(t, g, unit, properties{"UnitFileState": "enabled", "ActiveState": "active"})
	}
	// Debian ships this one disabled.
	assertShow(t, g, "ssh.socket", properties{"UnitFileState": "disabled", "ActiveState": "inactive"})
	assert.Regexp(t, `^ssh +22/tcp$`, strings.TrimSpace(g.Run(t, "getent", "services", "ssh")), "netbase")
}

// openssh-server's ssh.socket starts a server for a login. From Debian 13 on the server
// inherits the listening socket, before that one runs for each connection.
func TestPackagedSSHSocket(t *testing.T) {
	t.Parallel()
	g := startPackaged(t)
	user := g.AddUser(t, vmtest.User{Name: "alice"})
	key := authorize(t, g, user)
	g.WriteFile(t, "/etc/default/locale", nil, 0o644) // pam_env logs an error without it
	g.Disable(t, "ssh.service")
	g.Unit("ssh.service").Stop(t)
	g.EnableNow(t, "ssh.socket")
	assertShow(t, g, "ssh.socket", properties{"SubState": "listening", "NAccepted": "0"})
	assertShow(t, g, "ssh.service", properties{"ActiveState": "inactive"})

	client := logIn(t, g, user, key)
	assert.Regexp(t, `^SSH-2\.0-OpenSSH_`, string(client.ServerVersion()))
	session, err := client.NewSession()
	require.NoError(t, err)
	out, err := session.CombinedOutput("id -un")
	require.NoError(t, err)
	assert.Equal(t, "alice\n", string(out))
	if show(t, g, "ssh.socket", "Accept") == "yes" {
		assert.Len(t, g.Unit("ssh@.service").Instances(t), 1)
	} else {
		assertShow(t, g, "ssh.service", properties{"ActiveState": "active", "TriggeredBy": "ssh.socket"})
	}
}

// logIn logs in to the guest over SSH. The connection ends with the test, if not before.
func logIn(t *testing.T, g *vmtest.Guest, user vmtest.User, key ssh.Signer) *ssh.Client {
	t.Helper()
	c, chans, reqs, err := ssh.NewClientConn(g.Dial(t, "tcp", "127.0.0.1:22"), "guest", &ssh.ClientConfig{
		User: user.Name, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	require.NoError(t, err)
	client := ssh.NewClient(c, chans, reqs)
	t.Cleanup(func() { _ = client.Close() }) // the test may have closed it
	return client
}

// authorize makes a key with which a user can log in to the guest.
func authorize(t *testing.T, g *vmtest.Guest, user vmtest.User) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	key, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	dir := user.Home + "/.ssh"
	g.Run(t, "install", "-d", "-o", user.Name, "-m", "700", dir)
	g.WriteFile(t, dir+"/authorized_keys", ssh.MarshalAuthorizedKey(key.PublicKey()), 0o644)
	return key
}

// rpcbind's socket starts it again for a question.
func TestPackagedRpcbindSocket(t *testing.T) {
	t.Parallel()
	g := startPackaged(t)
	g.Unit("rpcbind.service").Stop(t)
	assertShow(t, g, "rpcbind.socket", properties{"SubState": "listening"})
	assertShow(t, g, "rpcbind.service", properties{"ActiveState": "inactive"})
	assert.Contains(t, g.Run(t, "rpcinfo", "-p", "127.0.0.1"), "portmapper")
	assertShow(t, g, "rpcbind.service", properties{"ActiveState": "active"})
}
