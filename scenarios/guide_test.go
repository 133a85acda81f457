package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// The guide: socket activation with an instance of cat for each connection. It verifies
// and enables the units, connects twice, and disables them: ListenStream=, Accept=yes,
// StandardInput=socket, WantedBy=. See systemd.socket(5), systemd.exec(5), systemctl(1).
func TestGuide(t *testing.T) {
	t.Parallel()
	followGuide(t, vmtest.Start(t, vmtest.Config{}))
}

// followGuide takes the steps of the guide in a guest.
func followGuide(t *testing.T, g *vmtest.Guest) {
	t.Helper()
	link := unitDir(g) + "/sockets.target.wants/" + echoSocket
	texts := guideTextsOf(g)

	copyUnits(t, g, "testdata/guide")
	g.Verify(t, unitFile(g, echoTemplate), unitFile(g, echoSocket))
	g.DaemonReload(t)
	// The answer alone would not show a missing StandardOutput=: by default output
	// goes where input comes from.
	assertShow(t, g, "demo-echo@any.service", properties{
		"LoadState": "loaded", "StandardInput": "socket", "StandardOutput": "socket", "StandardError": "journal",
	})

	out := guideCommand(t, g, "enable", "--now")
	assert.Equal(t, fmt.Sprintf(texts.created, link, unitFile(g, echoSocket)), strings.TrimSpace(out), "systemctl enable --now")
	assert.Equal(t, unitFile(g, echoSocket), strings.TrimSpace(g.Run(t, "readlink", link)), "target of %s", link)
	assertShow(t, g, echoSocket, properties{
		"Listen": "127.0.0.1:9091 (Stream)", "ActiveState": "active", "SubState": "listening",
		"Accept": "yes", "UnitFileState": enabledState(g), "NAccepted": "0", "NConnections": "0",
	})
	assert.Empty(t, g.Unit(echoTemplate).Instances(t), "instances before the first connection")

	for n := 1; n <= 2; n++ {
		echo := g.Run(t, "sh", "-c", `printf 'socket activation works\n' | nc -N 127.0.0.1 9091`)
		assert.Equal(t, "socket activation works\n", echo, "output of nc for connection %d", n)
		g.Unit(echoSocket).WaitProperty(t, "NConnections", 0)
		assertShow(t, g, echoSocket, properties{
			"ActiveState": "active", "SubState": "listening", "NAccepted": fmt.Sprint(n), "NConnections": "0",
		})
		status := g.Unit(echoSocket).Status(t)
		assertStatus(t, status, "Active:", "active (listening) since")
		assertStatus(t, status, "Listen:", "127.0.0.1:9091 (Stream)")
		assertStatus(t, status, "Accepted:", fmt.Sprintf("%d; Connected: 0;", n))
	}
	g.Unit(echoTemplate).WaitInstances(t, 0)
	assertJournal(t, g, echoSocket, texts.listening)

	out = guideCommand(t, g, "disable")
	assert.Equal(t, fmt.Sprintf(texts.removed, link), strings.TrimSpace(out), "systemctl disable")
	gone := g.Exec(t, vmtest.Command{Args: []string{"readlink", link}})
	assert.Equal(t, 1, gone.ExitCode, "exit status of readlink %s after systemctl disable", link)
	// systemctl disable does not stop the unit.
	assertShow(t, g, echoSocket, properties{"UnitFileState": "disabled", "ActiveState": "active", "SubState": "listening"})
}

// guideCommand runs systemctl on the guide's socket, and returns all that it printed.
func guideCommand(t *testing.T, g *vmtest.Guest, args ...string) string {
	t.Helper()
	if g.Machine.Image().RuntimeUnits() {
		args = append(args, "--runtime")
	}
	r := g.Exec(t, vmtest.Command{Args: slices.Concat([]string{"systemctl"}, args, []string{echoSocket})})
	require.NoError(t, r.Err())
	return string(r.Stdout) + string(r.Stderr)
}

// guideTexts are messages of systemctl and systemd, which differ between versions.
type guideTexts struct {
	created   string // link, its target
	removed   string // link
	listening string
}

// guideTextsOf returns the messages of the systemd in the guest.
func guideTextsOf(g *vmtest.Guest) guideTexts {
	const description = "Listening socket of the echo demonstration"
	texts := guideTexts{
		created:   "Created symlink '%s' → '%s'.",
		removed:   "Removed '%s'.",
		listening: "Listening on demo-echo.socket - " + description + ".",
	}
	major := g.Machine.Image().SystemdMajor
	if major < 256 {
		texts.created = "Created symlink %s → %s."
		texts.removed = `Removed "%s".`
	}
	if major < 250 {
		texts.removed = "Removed %s."
		texts.listening = "Listening on " + description + "."
	}
	return texts
}

// assertStatus asserts that the line of systemctl status with the given label has a text
// that begins with want.
func assertStatus(t testing.TB, status, label, want string) {
	t.Helper()
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), label); ok {
			got := strings.TrimSpace(rest)
			assert.True(t, strings.HasPrefix(got, want), "systemctl status, %s\nexpected: %s\nactual:   %s", label, want, got)
			return
		}
	}
	assert.Fail(t, "systemctl status has no line "+label, status)
}
