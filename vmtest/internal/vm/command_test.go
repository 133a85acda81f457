package vm

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// The error of a call that its context ended says what was done, and why the context ended.
func TestErrorOfACallThatItsContextEnds(t *testing.T) {
	h := newFakeHost(t)
	m, _ := h.bootFake()
	ctx, cancel := deadline.Within(t.Context(), deadline.Limit{What: "not connected", Time: time.Millisecond})
	defer cancel()
	_, err := m.Dial(ctx, "unix", silentSocket)
	require.ErrorAs(t, err, new(*net.OpError))
	assert.ErrorContains(t, err, "dial unix /silent (guest): not connected within ")
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = m.Dial(ctx, "unix", silentSocket)
	assert.EqualError(t, err, "dial unix /silent (guest): context canceled")

	reason := errors.New("enough")
	ctx, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(reason)
	err = m.run(ctx, "true")
	assert.EqualError(t, err, "context canceled: enough")
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, err, reason)
}
