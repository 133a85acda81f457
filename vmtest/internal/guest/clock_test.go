package guest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// controller answers all requests with the same time, and keeps the last.
type controller struct{ asked clockRequest }

func (c *controller) Control(_ context.Context, name string, payload []byte) ([]byte, error) {
	if err := ssh.Unmarshal(payload, &c.asked); err != nil {
		return nil, err
	}
	return ssh.Marshal(clockReply{uint64(time.Second)}), nil
}

// 1970 is a time to set, and the zero time is none.
func TestChangeClock(t *testing.T) {
	for _, c := range []struct {
		change ClockChange
		asked  clockRequest
	}{
		{ClockChange{}, clockRequest{}},
		{ClockChange{Set: time.Unix(0, 0)}, clockRequest{HasSet: true}},
		{ClockChange{Set: time.Unix(0, 7)}, clockRequest{HasSet: true, Set: 7}},
		{ClockChange{Step: -1, Hardware: true}, clockRequest{Step: 1<<64 - 1, Hardware: true}},
	} {
		var agent controller
		now, err := ChangeClock(t.Context(), &agent, c.change)
		require.NoError(t, err)
		assert.Equal(t, time.Unix(1, 0), now)
		assert.Equal(t, c.asked, agent.asked)
	}
}

func TestClockError(t *testing.T) {
	at := time.Unix(1, 0)
	assert.NoError(t, clockError(at, nil))
	assert.EqualError(t, clockError(at, unix.EINVAL), "set clock to 1970-01-01T00:00:01Z: invalid argument: the kernel refuses a time at which its boot would be before 1970")
	assert.EqualError(t, clockError(at, unix.EPERM), "set clock to 1970-01-01T00:00:01Z: operation not permitted")
}
