package scenarios

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The daemon's own bound: a client above it is neither refused nor served, but waits in
// the queue of the socket until another one leaves.
func TestEchoBound(t *testing.T) {
	t.Parallel()
	const bound = 4
	g := startEchoGuest(t, "../echo/units/max-connections")
	g.EnableNow(t, echoSocket)
	var open []*client
	for n := range bound {
		open = append(open, connect(t, g, "tcp", echoAddress))
		open[n].echo(t, fmt.Sprint("client ", n))
	}
	waiting := connect(t, g, "tcp", echoAddress)
	waiting.send(t, "above the bound")
	full := waitEcho(t, g, "full", anyEntry)
	assert.Equal(t, fmt.Sprint(bound), full.Field("ECHO_CONNECTIONS"))
	assert.Len(t, echoEvents(t, g, "accept"), bound)
	open[0].finish(t)
	waiting.expect(t, "above the bound")
}
