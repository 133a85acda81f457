package scenarios

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// Each of many machines in one network reaches each other one by its name. $VMTEST_MACHINES is
// how many there are.
func TestNetworkOfMany(t *testing.T) {
	t.Parallel()
	machines := 8
	if text := os.Getenv("VMTEST_MACHINES"); text != "" {
		var err error
		machines, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	first := startNetworkEcho(t, "testdata/network-restart")
	snapshot, err := first.Machine.Snapshot(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { snapshot.Close() })
	began := time.Now()
	guests := make([]*vmtest.Guest, machines)
	for i := range guests {
		guests[i] = snapshot.Start(t, vmtest.ForkConfig{Hostname: fmt.Sprintf("machine%d", i), Networks: []*vmtest.Network{n}})
	}
	joined := time.Since(began)
	for i, from := range guests {
		for j := range guests {
			conn := from.Dial(t, "tcp", fmt.Sprintf("machine%d:9091", j))
			_, err := fmt.Fprintf(conn, "%d to %d\n", i, j)
			require.NoError(t, err)
			line, err := bufio.NewReader(conn).ReadString('\n')
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprintf("%d to %d\n", i, j), line)
			require.NoError(t, conn.Close())
		}
	}
	t.Logf("%d machines: joined after %v, each had talked to each after %v", machines, joined, time.Since(began))
}
