package scenarios

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// get asks a server in the guest for a page.
func get(t testing.TB, g *vmtest.Guest, address, path string, header http.Header) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return g.Dial(t, "tcp", address), nil },
	}}
	request, err := http.NewRequest(http.MethodGet, "http://guest"+path, nil)
	require.NoError(t, err)
	request.Header = header
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

// Each connection to micro-httpd.socket starts a process of the distribution's server,
// because the socket has Accept=yes.
func TestMicroHTTPD(t *testing.T) {
	t.Parallel()
	g := startPackaged(t)
	assertShow(t, g, "micro-httpd.socket", properties{"ActiveState": "active", "SubState": "listening", "Accept": "yes", "UnitFileState": "enabled"})
	g.WriteFile(t, "/var/www/html/page.html", []byte("a page\n"), 0o644)
	for range 2 {
		status, body := get(t, g, "127.0.0.1:80", "/page.html", nil)
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, "a page\n", body)
	}
	assertShow(t, g, "micro-httpd.socket", properties{"NAccepted": "2"})
}

// The first request starts the journal's gateway, in a network of its own that only the
// socket leads into.
func TestJournalGateway(t *testing.T) {
	t.Parallel()
	g := startPackaged(t)
	const service = "systemd-journal-gatewayd.service"
	g.EnableNow(t, "systemd-journal-gatewayd.socket")
	assertShow(t, g, service, properties{"ActiveState": "inactive", "PrivateNetwork": "yes"})
	status, body := get(t, g, "127.0.0.1:19531", "/machine", http.Header{"Accept": {"application/json"}})
	assert.Equal(t, http.StatusOK, status)
	var machine struct {
		Hostname string `json:"hostname"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &machine), "%s", body)
	assert.NotEmpty(t, machine.Hostname)
	assertShow(t, g, service, properties{"ActiveState": "active", "SubState": "running"})
}

// A daemon in Python takes its listener and notifies by the library of python3-systemd.
func TestPythonDaemon(t *testing.T) {
	t.Parallel()
	g := startPackaged(t)
	g.Copy(t, "testdata/python/hello.py", "/usr/local/lib/hello.py")
	g.Copy(t, "testdata/python/hello.socket", unitFile(g, "hello.socket"))
	g.Copy(t, "testdata/python/hello.service", unitFile(g, "hello.service"))
	g.EnableNow(t, "hello.socket")
	c := connect(t, g, "unix", "/run/hello.sock")
	c.send(t, "systemd")
	c.expect(t, "hello systemd")
	assertShow(t, g, "hello.service", properties{"ActiveState": "active", "Type": "notify", "DynamicUser": "yes"})
	entries := g.Journal(t, vmtest.JournalQuery{Unit: "hello.service"})
	require.NotEmpty(t, entries)
	assert.Equal(t, "systemd", entries[len(entries)-1].Field("HELLO_NAME"))
}

// gunicorn inherits the listener of a socket unit, and its workers serve an application.
func TestGunicorn(t *testing.T) {
	t.Parallel()
	g := startPackaged(t)
	g.Copy(t, "testdata/gunicorn/app.py", "/usr/local/lib/app.py")
	g.Copy(t, "testdata/gunicorn/app.socket", unitFile(g, "app.socket"))
	g.Copy(t, "testdata/gunicorn/app.service", unitFile(g, "app.service"))
	g.Verify(t, unitFile(g, "app.socket"), unitFile(g, "app.service"))
	g.EnableNow(t, "app.socket")
	assertShow(t, g, "app.service", properties{"ActiveState": "inactive"})
	status, body := get(t, g, "127.0.0.1:8000", "/here", nil)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "you asked for /here\n", body)
	assertShow(t, g, "app.service", properties{"ActiveState": "active", "SubState": "running"})
	assertJournal(t, g, "app.service", "Listening at: http://127.0.0.1:8000")
}

// dbus-broker takes over dbus.socket, and clients find the bus where it was.
func TestDBusBroker(t *testing.T) {
	t.Parallel()
	g := startPackaged(t)
	assertShow(t, g, "dbus.service", properties{"Id": "dbus-broker.service", "ActiveState": "active"})
	assertShow(t, g, "dbus.socket", properties{"ActiveState": "active", "SubState": "running"})
	names := g.Run(t, "busctl", "--list", "--acquired")
	assert.Contains(t, names, "org.freedesktop.systemd1")
}
