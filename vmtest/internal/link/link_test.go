package link_test

import (
	"context"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// timeout bounds what is expected to happen soon.
const timeout = time.Minute

// testContext ends early enough for the test to say what it waited for.
func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	tb.Cleanup(cancel)
	return ctx
}

// guest is an agent in this process; "inside the guest" is this host.
type guest struct {
	*link.Client
	port net.Conn // the agent's end of the stream

	cancel context.CancelFunc
	served chan error
}

// start connects a Client with an agent and checks at the test's end that
// neither leaves a goroutine.
func start(tb testing.TB, server *agent.Server) *guest {
	tb.Helper()
	checkLeaks(tb)
	host, port := socketPair(tb)
	ctx, cancel := context.WithCancel(context.Background())
	g := &guest{port: port, cancel: cancel, served: make(chan error, 1)}
	var serving sync.WaitGroup
	serving.Go(func() { g.served <- server.Serve(ctx, port) })
	tb.Cleanup(func() { cancel(); serving.Wait() })

	client, err := link.Dial(testContext(tb), host)
	require.NoError(tb, err)
	tb.Cleanup(func() { client.Close() })
	g.Client = client
	return g
}

// socketPair stands for the virtio port.
func socketPair(tb testing.TB) (net.Conn, net.Conn) {
	tb.Helper()
	a, b, err := host.ConnPair("port")
	require.NoError(tb, err)
	tb.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// checkLeaks compares the number of goroutines at the test's end with now.
func checkLeaks(tb testing.TB) {
	tb.Helper()
	before := runtime.NumGoroutine()
	tb.Cleanup(func() {
		// Goroutines that were told to end need a moment, and announce it to
		// nobody.
		deadline := time.Now().Add(5 * time.Second)
		for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
		if after := runtime.NumGoroutine(); after > before {
			stacks := make([]byte, 1<<20)
			tb.Errorf("%d goroutines before, %d after:\n%s", before, after, stacks[:runtime.Stack(stacks, true)])
		}
	})
}

// receive waits for a value.
func receive[T any](tb testing.TB, what string, from <-chan T) T {
	tb.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(timeout):
		require.FailNow(tb, "no "+what+" in time")
		panic("unreachable")
	}
}
