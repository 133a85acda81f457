package scenarios

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
)

// A socket listens on an IPv6 address: ListenStream= in brackets, and BindIPv6Only=. The
// instance gets an IPv6 address in REMOTE_ADDR. See systemd.socket(5).
func TestListenIPv6(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "testdata/ipv6")
	g.EnableNow(t, echoSocket)
	assertShow(t, g, echoSocket, properties{
		"Listen": "[::1]:9092 (Stream)", "BindIPv6Only": "ipv6-only", "ActiveState": "active", "SubState": "listening",
	})

	c := connect(t, g, "tcp", "[::1]:9092")
	c.echo(t, "over IPv6")
	accept := waitEcho(t, g, "accept", anyEntry)
	assert.Equal(t, "::1", accept.Field("ECHO_REMOTE_ADDR"), "REMOTE_ADDR in %q", accept.Message)
	assert.Equal(t, "[::1]:"+accept.Field("ECHO_REMOTE_PORT"), accept.Field("ECHO_PEER"), "peer of the connection")
	assertShow(t, g, echoSocket, properties{"NAccepted": "1", "NConnections": "1"})
	c.finish(t)
	g.Unit(echoSocket).WaitProperty(t, "NConnections", 0)

	v4 := g.Exec(t, vmtest.Command{Args: []string{"nc", "-N", "127.0.0.1", "9092"}})
	assert.Equal(t, 1, v4.ExitCode, "exit status of nc to the same port of 127.0.0.1")
	assertShow(t, g, echoSocket, properties{"NAccepted": "1"})
	assertJournal(t, g, echoSocket, "Echo socket on the IPv6 loopback")
}

// A socket listens on a path: ListenStream=, SocketMode=, SocketGroup=, DirectoryMode=
// and RemoveOnStop=. See systemd.socket(5); unix(7) says which users may connect.
func TestListenUnixPath(t *testing.T) {
	t.Parallel()
	const path = "/run/demo/echo.sock"
	g := startEchoGuest(t, "testdata/unix-path")
	g.EnableNow(t, echoSocket)
	assertShow(t, g, echoSocket, properties{
		"Listen": path + " (Stream)", "SocketMode": "0660", "DirectoryMode": "0750", "SocketGroup": "daemon",
		"ActiveState": "active", "SubState": "listening",
	})
	assert.Equal(t, "socket 660 root daemon", stat(t, g, path), "type, mode, owner and group of %s", path)
	assert.Equal(t, "directory 750 root root", stat(t, g, "/run/demo"), "type, mode, owner and group of /run/demo")
	assertShow(t, g, echoService, properties{"ActiveState": "inactive"})

	c := connect(t, g, "unix", path)
	c.echo(t, "over a path")
	c.finish(t)
	assertShow(t, g, echoService, properties{"ActiveState": "active", "SubState": "running"})
	listen := waitEcho(t, g, "listen", anyEntry)
	assert.Equal(t, path, listen.Field("ECHO_ADDRESS"), "address of the inherited listener")
	// FileDescriptorName= is by default the name of the socket unit.
	assert.Equal(t, echoSocket, listen.Field("ECHO_LISTENER"), "name of the inherited listener")

	g.Unit(echoSocket).Stop(t)
	g.Unit(echoService).Stop(t)
	assertShow(t, g, echoSocket, properties{"ActiveState": "inactive", "SubState": "dead", "Result": "success"})
	gone := g.Exec(t, vmtest.Command{Args: []string{"stat", path}})
	assert.Equal(t, 1, gone.ExitCode, "exit status of stat %s after RemoveOnStop=", path)
}

// A service has listeners of several socket units and distinguishes them by name:
// FileDescriptorName=, Service= and Sockets=. All listeners of one socket unit have the
// same name. See systemd.socket(5) and sd_listen_fds_with_names(3).
func TestListenerNames(t *testing.T) {
	t.Parallel()
	const public, admin, service = "demo-public.socket", "demo-admin.socket", "demo-names.service"
	addresses := map[string]string{ // address to name
		"127.0.0.1:9093":        "public",
		"/run/demo-public.sock": "public",
		"/run/demo-admin.sock":  "admin",
	}
	g := startEchoGuest(t, "testdata/listener-names")
	g.EnableNow(t, public, admin)
	assertShow(t, g, public, properties{
		"Listen":             "127.0.0.1:9093 (Stream)\n/run/demo-public.sock (Stream)",
		"FileDescriptorName": "public", "Triggers": service, "SubState": "listening",
	})
	assertShow(t, g, admin, properties{
		"Listen": "/run/demo-admin.sock (Stream)", "FileDescriptorName": "admin", "Triggers": service, "SubState": "listening",
	})
	assertShow(t, g, service, properties{"ActiveState": "inactive", "MainPID": "0"})

	for _, address := range slices.Sorted(maps.Keys(addresses)) {
		network := "tcp"
		if strings.HasPrefix(address, "/") {
			network = "unix"
		}
		c := connect(t, g, network, address)
		c.echo(t, "to "+address)
		c.finish(t)
	}
	named := make(map[string]string)
	for _, e := range echoEvents(t, g, "listen") {
		named[e.Field("ECHO_ADDRESS")] = e.Field("ECHO_LISTENER")
	}
	assert.Equal(t, addresses, named, "names of the listeners by address")
	assert.ElementsMatch(t, []string{"public", "public", "admin"}, field(echoEvents(t, g, "accept"), "ECHO_LISTENER"), "listeners that accepted")
	pid := show(t, g, service, "MainPID")
	assert.Equal(t, []string{pid, pid, pid}, field(echoEvents(t, g, "accept"), "_PID"), "process of each connection")
	assertShow(t, g, public, properties{"ActiveState": "active", "SubState": "running"})
	assertShow(t, g, admin, properties{"ActiveState": "active", "SubState": "running"})
}

// stat returns type, mode, owner and group of a file.
func stat(t testing.TB, g *vmtest.Guest, path string) string {
	t.Helper()
	return strings.TrimSpace(g.Run(t, "stat", "--format=%F %a %U %G", path))
}

// A guest resolves localhost without a name server, for its programs and for Guest.Dial.
func TestLocalhost(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/guide")
	names := g.Run(t, "getent", "ahosts", "localhost")
	assert.Contains(t, names, "127.0.0.1 ")
	assert.Contains(t, names, "::1 ")
	g.EnableNow(t, echoSocket)
	c := connect(t, g, "tcp", "localhost:9091")
	c.echo(t, "by name")
	c.finish(t)
}
