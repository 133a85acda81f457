package systemd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A connection that another client has authenticated needs no further word before a call,
// and is made again when it ends.
func TestResume(t *testing.T) {
	f, m := newFake(t)
	f.unit("a.service", "active", "running", nil)
	conn, err := f.dial(t.Context())
	require.NoError(t, err)
	require.NoError(t, authenticate(conn))
	require.NoError(t, m.Resume(t.Context(), conn))
	for range 2 {
		value, err := m.Property(t.Context(), "a.service", "ActiveState")
		require.NoError(t, err)
		assert.Equal(t, "active", value.Value())
		assert.Equal(t, 1, f.dialed, "the connection was resumed, not made")
	}
	f.hangUp()
	_, err = m.Property(t.Context(), "a.service", "ActiveState")
	require.NoError(t, err)
	assert.Equal(t, 2, f.dialed, "the connection that ended is made again")
}

// A systemd that answers nothing keeps no caller longer than its context lasts, even one for
// whom go-systemd would ask without a context.
func TestConnWithoutAnAnswer(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	var m Manager
	require.NoError(t, m.Resume(t.Context(), ours))
	defer m.Close(net.ErrClosed)
	late := errors.New("it is late")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		godbus.DecodeMessage(bufio.NewReader(theirs)) // it is asked
		cancel(late)
	}()
	_, err := m.Conn(ctx)
	assert.ErrorIs(t, err, late)
	assert.ErrorIs(t, m.Watch(ctx, nil), late)
}

// sd-bus answers a call that it reads together with BEGIN only when it reads the next. So
// nothing may follow BEGIN until the server has answered.
func TestNothingFollowsBegin(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		c, err := openConnection(t.Context(), dialer(ours), new(changes))
		if err == nil {
			c.raw.Object(managerName, managerPath).Go(managerInterface+".Subscribe", godbus.FlagNoReplyExpected, nil)
		}
	}()
	require.NoError(t, theirs.SetDeadline(time.Now().Add(10*time.Second)))
	buf := make([]byte, 1<<10)
	n, err := theirs.Read(buf)
	require.NoError(t, err)
	assert.Equal(t, "\x00AUTH EXTERNAL 30\r\nBEGIN\r\n", string(buf[:n]), "all that is sent before the answer")
	_, err = io.WriteString(theirs, "OK 1234deadbeef\r\n")
	require.NoError(t, err)
	call, err := godbus.DecodeMessage(bufio.NewReader(theirs))
	require.NoError(t, err)
	assert.Equal(t, "Subscribe", call.Headers[godbus.FieldMember].Value())
}

func dialer(conn net.Conn) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) { return conn, nil }
}

// A server that refuses is quoted.
func TestRefusedAuthentication(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		theirs.Read(make([]byte, 1<<10))
		io.WriteString(theirs, "REJECTED ANONYMOUS\r\n")
	}()
	_, err := openConnection(t.Context(), dialer(ours), new(changes))
	assert.EqualError(t, err, `authenticate to systemd: it answered "REJECTED ANONYMOUS\r\n"`)
}
