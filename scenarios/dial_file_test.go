package scenarios

import (
	"io"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// waitMessage waits for an entry of a unit with a message.
func waitMessage(t testing.TB, g *vmtest.Guest, unit, message string) {
	t.Helper()
	ctx, cancel := vmtest.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := g.Machine.WaitJournal(ctx, vmtest.JournalQuery{By: unit}, func(e vmtest.Entry) bool { return e.Message == message })
	require.NoError(t, err, "wait for %q of %s", message, unit)
}

// What a test writes to a FIFO starts the service, which reads it. See ListenFIFO= in
// systemd.socket(5).
func TestDialFIFO(t *testing.T) {
	t.Parallel()
	const socket, service, path = "demo-fifo.socket", "demo-fifo.service", "/run/demo.fifo"
	g := startGuest(t, "testdata/fifo")
	g.Verify(t, unitFile(g, service), unitFile(g, socket))
	_, err := g.Machine.Dial(t.Context(), "fifo", path)
	assert.ErrorIs(t, err, fs.ErrNotExist, "before the socket unit")
	g.EnableNow(t, socket)
	assertShow(t, g, socket, properties{"SubState": "listening", "Listen": path + " (FIFO)", "SocketMode": "0620"})
	assertShow(t, g, service, properties{"ActiveState": "inactive"})

	conn := g.Dial(t, "fifo", path)
	_, err = conn.Write([]byte("one\n"))
	require.NoError(t, err)
	waitMessage(t, g, service, "received one")
	_, err = conn.Write([]byte("two words\n"))
	require.NoError(t, err)
	waitMessage(t, g, service, "received two words")
	assertShow(t, g, socket, properties{"SubState": "running"})
	assertShow(t, g, service, properties{"ActiveState": "active", "SubState": "running", "TriggeredBy": socket})

	// A FIFO that the test reads.
	g.Run(t, "mkfifo", "/run/answers")
	answers := g.Dial(t, "fifo", "/run/answers")
	_, err = answers.Write([]byte("x"))
	assert.ErrorIs(t, err, syscall.ENXIO, "nobody reads it")
	g.Unit("demo-answer.service").Start(t)
	answer, err := io.ReadAll(answers)
	require.NoError(t, err)
	assert.Equal(t, "an answer\n", string(answer), "until the writer has closed")
	g.Unit("demo-answer.service").Wait(t, "inactive")
	assertRunning(t, g)
}

// A message of a test starts the service, and a test reads its answers. See ListenMessageQueue=
// in systemd.socket(5).
func TestDialMessageQueue(t *testing.T) {
	t.Parallel()
	const socket, service, name = "demo-queue.socket", "demo-queue.service", "/demo-queue"
	g := startGuest(t, "testdata/mqueue")
	g.InstallGo(t, "./testdata/queue-reader", "/usr/local/bin/queue-reader")
	g.Verify(t, unitFile(g, service), unitFile(g, socket))
	_, err := g.Machine.Dial(t.Context(), "mqueue", name)
	assert.ErrorIs(t, err, fs.ErrNotExist, "before the socket unit")
	g.EnableNow(t, socket)
	assertShow(t, g, socket, properties{"SubState": "listening", "Listen": name + " (MessageQueue)"})
	assertShow(t, g, service, properties{"ActiveState": "inactive"})

	conn := g.Dial(t, "mqueue", name)
	_, err = conn.Write(make([]byte, 65))
	assert.ErrorIs(t, err, syscall.EMSGSIZE)
	assert.ErrorContains(t, err, "write mqueue /demo-queue (guest): message too long: it has 65 bytes, and the queue takes 64 (MessageQueueMessageSize=)")
	messages := []string{"one", "two words"}
	for _, text := range messages {
		_, err = conn.Write([]byte(text))
		require.NoError(t, err)
		waitMessage(t, g, service, `received "`+text+`"`)
	}
	assertShow(t, g, socket, properties{"SubState": "running"})
	assertShow(t, g, service, properties{"ActiveState": "active", "SubState": "running"})
	answers, packet := g.Dial(t, "mqueue", "/demo-answers"), make([]byte, 100)
	for _, want := range []string{"ONE!", "TWO WORDS!"} {
		n, err := answers.Read(packet)
		require.NoError(t, err)
		assert.Equal(t, want, string(packet[:n]))
	}
	assertRunning(t, g)
}
