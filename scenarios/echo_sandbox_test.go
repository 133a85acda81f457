package scenarios

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The sandbox of the units is in force for the process that serves, which still serves the
// socket that it was passed: a user of its own, no capabilities, no network, filtered
// system calls. See proc(5) and systemd.exec(5).
func TestEchoSandbox(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/accept-no")
	g.Unit(echoSocket).Start(t)
	connect(t, g, "tcp", echoAddress).echo(t, "hello")
	proc := "/proc/" + mainPID(t, g)
	out := strings.Fields(g.Run(t, "readlink", proc+"/ns/net", "/proc/1/ns/net", proc+"/ns/mnt", "/proc/1/ns/mnt"))
	require.Len(t, out, 4)
	assert.NotEqual(t, out[0], out[1], "network namespaces of the service and of the system")
	assert.NotEqual(t, out[2], out[3], "mount namespaces of the service and of the system")
	status := g.Run(t, "cat", proc+"/status")
	for field, want := range map[string]string{
		"CapBnd": "0000000000000000", "CapEff": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2", "Umask": "0077",
	} {
		_, value, _ := strings.Cut(status, "\n"+field+":\t")
		value, _, _ = strings.Cut(value, "\n")
		assert.Equal(t, want, value, "%s of the process that serves", field)
	}
	_, uids, _ := strings.Cut(status, "Uid:\t")
	uid, err := strconv.Atoi(strings.Fields(uids)[0])
	require.NoError(t, err)
	// The range of DynamicUser=; see the design notes at https://systemd.io/UIDS-GIDS.
	assert.True(t, 61184 <= uid && uid <= 65519, "the service runs as UID %d, which is not a dynamic one", uid)
}
