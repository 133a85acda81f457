package guest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// relayed starts a relay in a bubble of synctest, and returns the ends of the host and of PID 1.
func relayed(t *testing.T, wake func(Wake) error) (host, bus net.Conn, done chan struct{}) {
	t.Helper()
	host, port := net.Pipe()
	bus, theirs := net.Pipe()
	done = make(chan struct{})
	go func() {
		defer close(done)
		relay(port, theirs, wake)
	}()
	for _, c := range []net.Conn{host, bus} {
		t.Cleanup(func() { c.Close() })
	}
	return host, bus, done
}

func someWake() Wake {
	return Wake{Asleep: 1 << 40, Seed: strings.Repeat("s", SeedSize), Hostname: "box", Network: "any bytes"}
}

// The guest is woken before anything passes to PID 1 or from it. Then each end gets what the
// other sends, and the end of the other.
func TestRelay(t *testing.T) { synctest.Test(t, testRelay) }

func testRelay(t *testing.T) {
	woken, wake := make(chan Wake, 1), make(chan error)
	host, bus, done := relayed(t, func(w Wake) error { woken <- w; return <-wake })
	signal := make(chan error, 1)
	go func() {
		_, err := io.WriteString(bus, "signal")
		signal <- err
	}()
	synctest.Wait()
	assert.Empty(t, signal, "PID 1 is read before the host has written")
	frame, err := WakeFrame(someWake())
	require.NoError(t, err)
	_, err = host.Write(frame)
	require.NoError(t, err)
	assert.Equal(t, someWake(), <-woken)
	synctest.Wait()
	assert.Empty(t, signal, "PID 1 is read before the guest is awake")
	wake <- nil
	require.NoError(t, ReadWoken(host))
	got := make([]byte, 6)
	_, err = io.ReadFull(host, got)
	require.NoError(t, err)
	assert.Equal(t, "signal", string(got))
	_, err = io.WriteString(host, "a call")
	require.NoError(t, err)
	_, err = io.ReadFull(bus, got)
	require.NoError(t, err)
	assert.Equal(t, "a call", string(got))

	require.NoError(t, bus.Close())
	_, err = host.Read(got)
	assert.Equal(t, io.EOF, err, "the port is closed when PID 1 has closed")
	<-done
}

func TestRelayEndsWithItsHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host, bus, done := relayed(t, func(Wake) error { return nil })
		require.NoError(t, host.Close())
		<-done
		_, err := bus.Read(make([]byte, 1))
		assert.Equal(t, io.EOF, err)
	})
}

// The agent's error is the host's.
func TestRefusedWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host, _, _ := relayed(t, func(Wake) error { return errors.New("no clock") })
		frame, err := WakeFrame(someWake())
		require.NoError(t, err)
		_, err = host.Write(frame)
		require.NoError(t, err)
		assert.EqualError(t, ReadWoken(host), "no clock")
	})
}

func TestWakeFrame(t *testing.T) {
	for name, w := range map[string]Wake{
		"short seed":     {Seed: "s"},
		"long host name": {Seed: strings.Repeat("s", SeedSize), Hostname: strings.Repeat("h", 65)},
		"time of day":    {Seed: strings.Repeat("s", SeedSize), UnixNano: 1},
	} {
		_, err := WakeFrame(w)
		assert.Error(t, err, name)
	}
	assert.EqualError(t, ReadWoken(bytes.NewReader(wokenReply(errors.New(strings.Repeat("x", 5000))))), strings.Repeat("x", maxWokenText))
	assert.ErrorIs(t, ReadWoken(strings.NewReader("\x05\x00no")), io.ErrUnexpectedEOF)
}

func TestAuthenticateToPID1(t *testing.T) {
	for answer, want := range map[string]string{
		"OK 1234deadbeef\r\nl\x04": "",
		"REJECTED\r\n":             `it answered "REJECTED\r\n"`,
		"":                         "EOF",
	} {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			theirs.Read(make([]byte, 100))
			io.WriteString(theirs, answer)
		}()
		err := authenticate(ours)
		if want == "" {
			assert.NoError(t, err)
			rest, _ := io.ReadAll(ours)
			assert.Equal(t, "l\x04", string(rest), "a signal that follows is not lost")
			continue
		}
		assert.EqualError(t, err, want)
	}
}
