package ether

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// sides runs a test for a fault at the sender's end of a line from a to b, and at the receiver's.
func sides(t *testing.T, test func(t *testing.T, a, b *peer, set func(Faults))) {
	for _, name := range []string{"sender", "receiver"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sw Switch
				a, b := plug(t, &sw, 1), plug(t, &sw, 2)
				test(t, a, b, func(f Faults) {
					if name == "sender" {
						a.SetFaults(f, Faults{})
					} else {
						b.SetFaults(Faults{}, f)
					}
				})
			})
		})
	}
}

// A cable that is plugged in again while a frame waits in it delivers what is sent afterwards.
func TestSendAfterPlugAgain(t *testing.T) {
	for _, wait := range []time.Duration{0, 500 * time.Millisecond, 2 * time.Second} {
		sides(t, func(t *testing.T, a, b *peer, set func(Faults)) {
			set(Faults{Delay: time.Second})
			a.send(t, address(2), address(1), "on its way")
			synctest.Wait()
			sw := a.sw.Load()
			a.Plug(sw, address(1), 0)
			b.Plug(sw, address(2), 0)
			time.Sleep(wait)
			a.send(t, address(2), address(1), "after")
			assert.Equal(t, []string{"after"}, b.seen())
			set(Faults{Delay: 100 * time.Millisecond})
			a.send(t, address(2), address(1), "with a delay")
			time.Sleep(time.Minute)
			assert.Equal(t, []string{"with a delay"}, b.seen())
			assert.Equal(t, []time.Duration{wait, wait + 100*time.Millisecond}, b.arrivals)
			set(Faults{})
			a.send(t, address(2), address(1), "at once")
			assert.Equal(t, []string{"at once"}, b.seen())
			assert.False(t, a.in.running, "no goroutine stays behind")
		})
	}
}

// Frames that are sent after a Delay was lowered do not wait for those before.
func TestLowerADelay(t *testing.T) {
	sides(t, func(t *testing.T, a, b *peer, set func(Faults)) {
		set(Faults{Delay: time.Second})
		a.send(t, address(2), address(1), "slow")
		synctest.Wait()
		set(Faults{Delay: time.Millisecond})
		a.send(t, address(2), address(1), "1ms")
		synctest.Wait()
		set(Faults{})
		a.send(t, address(2), address(1), "fast")
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"fast", "1ms", "slow"}, b.seen())
		assert.Equal(t, []time.Duration{0, time.Millisecond, time.Second}, b.arrivals)
	})
}
