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

// deadline returns when the waits of a test must end: before go test's own timeout,
// which would not tell what the test waited for.
func deadline(tb testing.TB) time.Time {
	tb.Helper()
	limit := time.Now().Add(2 * time.Minute) // a host may be busy
	if t, ok := tb.(*testing.T); ok {
		if end, ok := t.Deadline(); ok && end.Add(-5*time.Second).Before(limit) {
			return end.Add(-5 * time.Second)
		}
	}
	return limit
}

// testContext returns a context that ends at the test's deadline.
func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithDeadline(context.Background(), deadline(tb))
	tb.Cleanup(cancel)
	return ctx
}

// guest is an agent in this process, so this host is also the guest.
type guest struct {
	*link.Client
	port net.Conn // the agent's end of the stream

	cancel context.CancelFunc
	served chan error
}

// start connects a Client to an agent. At the test's end it checks that neither leaves
// a goroutine.
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

// checkLeaks fails the test if more goroutines run at its end than now.
func checkLeaks(tb testing.TB) {
	tb.Helper()
	before := runtime.NumGoroutine()
	tb.Cleanup(func() {
		// Nothing announces the end of a goroutine, so its number is polled. The
		// limit only decides when the test fails.
		limit := time.Now().Add(time.Minute)
		for runtime.NumGoroutine() > before && time.Now().Before(limit) {
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
	case <-time.After(time.Until(deadline(tb))):
		require.FailNow(tb, "no "+what+" in time")
		panic("unreachable")
	}
}
