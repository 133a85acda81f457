package scenarios

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/netstack"
)

// The example of three machines in the documentation of package vmtest passes as it stands there.
func TestNetworkDocumented(t *testing.T) {
	t.Chdir("testdata/network-doc")
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	networks := []*vmtest.Network{n}
	server := vmtest.Start(t, vmtest.Config{Hostname: "server", Networks: networks})
	server.CopyFS(t, os.DirFS("units"), "/etc/systemd/system") // MaxConnectionsPerSource=2
	server.EnableNow(t, "echo.socket")
	hostile := netstack.Start(t, n, vmtest.JoinConfig{Name: "hostile"})
	for range 3 {
		_, err := hostile.Dial(t.Context(), "tcp", "server:9091")
		require.NoError(t, err)
	}
	server.Unit("echo.socket").WaitProperty(t, "NRefused", 1)
	client := vmtest.Start(t, vmtest.Config{Hostname: "client", Networks: networks})
	conn := client.Dial(t, "tcp", "server:9091") // from inside the client
	_, err := conn.Write([]byte("hello\n"))
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
}

func TestNetworkDocumentedLines(t *testing.T) {
	doc, err := os.ReadFile("../vmtest/doc.go")
	require.NoError(t, err)
	const before, after = "is served all the same:\n//\n", "//\n// [Interface.SetFaults]"
	_, text, found := strings.Cut(string(doc), before)
	example, _, ended := strings.Cut(text, after)
	require.True(t, found && ended, "the example begins and ends")
	source, err := os.ReadFile("network_doc_test.go")
	require.NoError(t, err)
	assert.Contains(t, string(source), strings.ReplaceAll(example, "//\t", "\t"), "what TestNetworkDocumented runs")
	assert.LessOrEqual(t, strings.Count(example, "\n"), 30, "lines of the example")
}
