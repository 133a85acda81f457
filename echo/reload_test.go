package echo

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A reload is announced with its time, also one that fails, and a higher bound lets
// waiting clients in.
func TestReload(t *testing.T) {
	m := newManager(t)
	sockets, address := listen(t, "tcp")
	reload := make(chan os.Signal, 1)
	configs := []func() (int, error){
		func() (int, error) { return 0, errors.New("no number") },
		func() (int, error) { return 2, nil },
	}
	r := start(t, Server{MaxConnections: 1, Reload: reload, ReadConfig: func() (int, error) {
		read := configs[0]
		configs = configs[1:]
		return read()
	}}, sockets)
	next := func(want string) {
		t.Helper()
		state, _ := m.next(t)
		require.Equal(t, want, state)
	}
	next("READY=1")
	first := dial(t, "tcp", address)
	ping(t, first)
	second := dial(t, "tcp", address)
	for range 2 {
		before := monotonic(t, daemon.SdNotifyMonotonicUsec())
		reload <- syscall.SIGHUP
		state, _ := m.next(t)
		var sent string
		_, err := fmt.Sscanf(state, "RELOADING=1\n%s", &sent)
		require.NoError(t, err, "message %q lacks MONOTONIC_USEC=", state)
		assert.GreaterOrEqual(t, monotonic(t, sent), before)
		assert.LessOrEqual(t, monotonic(t, sent), monotonic(t, daemon.SdNotifyMonotonicUsec()))
		next("READY=1")
	}
	ping(t, second, "it waited until the bound was raised to 2")
	ping(t, first)
	r.stop()
	for _, conn := range []interface{ Close() error }{first, second} {
		require.NoError(t, conn.Close())
	}
	require.NoError(t, r.wait(t))
	log := r.log.String()
	assert.Regexp(t, `level=ERROR msg="cannot reload, the old configuration stays" event=reload error="no number"`, log)
	assert.Contains(t, log, "msg=reloaded event=reload max_connections=2")
}

func monotonic(t *testing.T, field string) (microseconds int64) {
	t.Helper()
	_, err := fmt.Sscanf(field, "MONOTONIC_USEC=%d", &microseconds)
	require.NoError(t, err, field)
	return microseconds
}
