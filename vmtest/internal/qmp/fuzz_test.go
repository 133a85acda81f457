package qmp

import (
	"bufio"
	"encoding/json"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// FuzzAnswers sends bytes as QEMU's. go-qemu's side gets no more than one message
// for a command, and it is that command's.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"return": {}, "id": "7"}` + "\r\n"))
	f.Add([]byte(`{"return": 1, "id": "7"}` + "\n" + `{"return": 2, "id": "7"}` + "\n"))
	f.Add([]byte(`{"event": "STOP", "id": "7"}` + "\n" + `{"error": {"desc": "x"}}` + "\n"))
	f.Add([]byte(`{"id": {}}` + "\n" + `null` + "\n" + `}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		monitor, theirs, err := qemu.Wire("monitor")
		require.NoError(t, err)
		defer monitor.Close()
		conn, err := net.FileConn(theirs)
		require.NoError(t, err)
		theirs.Close()
		defer conn.Close()
		from, to := net.Pipe()
		fl := newFilter(nil, conn.(*net.UnixConn))
		fl.expect("7")
		go func() {
			to.Write(data)
			to.Close()
		}()
		go func() {
			fl.answers(from)
			from.Close()
			conn.Close()
			close(fl.events)
		}()
		go func() {
			for range fl.events {
			}
		}()
		passed := 0
		lines := bufio.NewScanner(monitor)
		for lines.Scan() {
			passed++
			var m message
			require.NoError(t, json.Unmarshal(lines.Bytes(), &m))
			assert.Empty(t, m.Event.Event)
			assert.True(t, m.ID == "7" || m.ID == nil && m.Error != nil, "%s", lines.Bytes())
		}
		assert.LessOrEqual(t, passed, 1)
	})
}
