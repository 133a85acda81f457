package ether

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// peer is the other end of a station's stream, as QEMU has it.
type peer struct {
	*Station
	conn     net.Conn
	arrived  chan string // payloads
	arrivals []time.Duration
}

func address(n byte) Address { return Address{2, 0, 0, 0, 0, n} }

var everybody = Address{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// plug returns a station with address n in a switch. Its frames are collected.
func plug(t *testing.T, sw *Switch, n byte) *peer {
	ours, theirs := net.Pipe()
	h := &peer{Station: NewStation(ours), conn: theirs, arrived: make(chan string, 10_000)}
	h.Plug(sw, address(n), 7)
	began := time.Now()
	go func() {
		defer close(h.arrived)
		for {
			var size [lengthSize]byte
			if _, err := io.ReadFull(theirs, size[:]); err != nil {
				return
			}
			frame := make([]byte, binary.BigEndian.Uint32(size[:]))
			if _, err := io.ReadFull(theirs, frame); err != nil {
				return
			}
			h.arrivals = append(h.arrivals, time.Since(began))
			h.arrived <- string(frame[minFrame:])
		}
	}()
	t.Cleanup(func() { h.Close(); theirs.Close() })
	return h
}

func packet(to, from Address, payload string) []byte {
	frame := append(append(to[:], from[:]...), 0x88, 0xb5) // an EtherType for experiments
	frame = append(frame, payload...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
}

func (h *peer) send(t *testing.T, to, from Address, payload string) {
	t.Helper()
	_, err := h.conn.Write(packet(to, from, payload))
	require.NoError(t, err)
}

// seen returns what has arrived once all is quiet.
func (h *peer) seen() []string {
	synctest.Wait()
	var list []string
	for len(h.arrived) > 0 {
		list = append(list, <-h.arrived)
	}
	return list
}

func TestSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sw Switch
		a, b, c := plug(t, &sw, 1), plug(t, &sw, 2), plug(t, &sw, 3)
		a.send(t, address(2), address(1), "to b")
		a.send(t, everybody, address(1), "to all")
		a.send(t, address(9), address(1), "to nobody that is known")
		a.send(t, address(1), address(1), "to itself")
		assert.Equal(t, []string{"to b", "to all", "to nobody that is known"}, b.seen())
		assert.Equal(t, []string{"to all", "to nobody that is known"}, c.seen())
		assert.Empty(t, a.seen())

		c.send(t, address(1), address(9), "from behind c")
		assert.Equal(t, []string{"from behind c"}, a.seen())
		a.send(t, address(9), address(1), "learned")
		assert.Empty(t, b.seen(), "the switch knows where the address is")
		assert.Equal(t, []string{"learned"}, c.seen())

		c.send(t, address(1), address(2), "with b's address")
		a.seen()
		a.send(t, address(2), address(1), "to b again")
		assert.Equal(t, []string{"to b again"}, b.seen(), "no station takes another's frames away")

		b.Pull()
		a.send(t, everybody, address(1), "without b")
		assert.Empty(t, b.seen())
		c.seen()
		c.conn.Close()
		synctest.Wait()
		<-c.Done()
		assert.NoError(t, c.Err(), "it left")
		a.send(t, address(9), address(1), "behind c, which has left")
		assert.Empty(t, b.seen())
	})
}

// A station that invents addresses fills no memory.
func TestSwitchLearnsFewAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sw Switch
		a := plug(t, &sw, 1)
		for n := range 2 * maxLearned {
			a.send(t, everybody, Address{2, 1, 0, 0, byte(n >> 8), byte(n)}, "")
		}
		synctest.Wait()
		assert.Len(t, sw.table, maxLearned+1)
	})
}

func TestBadFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sw Switch
		a, b := plug(t, &sw, 1), plug(t, &sw, 2)
		_, err := a.conn.Write([]byte{0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0})
		require.NoError(t, err)
		a.send(t, address(2), address(1), "after two runts")
		assert.Equal(t, []string{"after two runts"}, b.seen())
		assert.Equal(t, int64(2), a.Counters().Runts)
		_, err = a.conn.Write([]byte{0xff, 0, 0, 0})
		require.NoError(t, err)
		synctest.Wait()
		<-a.Done()
		assert.EqualError(t, a.Err(), "a frame of 4278190080 bytes: at most 69632 pass")
		b.send(t, everybody, address(2), "alone")
		assert.NoError(t, b.Err(), "b goes on")
	})
}

// A station that takes nothing delays nobody, and what waits for it is bounded.
func TestStationThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sw Switch
		a, b := plug(t, &sw, 1), plug(t, &sw, 2)
		ours, theirs := net.Pipe()
		defer theirs.Close()
		stuck := NewStation(ours)
		defer stuck.Close()
		stuck.Plug(&sw, address(3), 0)
		payload := string(make([]byte, 60_000))
		for range 100 {
			a.send(t, everybody, address(1), payload)
			synctest.Wait() // b has taken it
		}
		assert.Equal(t, 100, len(b.seen()), "frames that the other station has got")
		assert.Greater(t, stuck.Counters().Dropped, int64(10))
		assert.LessOrEqual(t, stuck.out.size, maxQueued)
	})
}

func TestFaults(t *testing.T) {
	numbers := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprint(i))
		}
		return list
	}
	// through returns what arrives of 100 frames, and when.
	through := func(t *testing.T, sent, received Faults) (list []string, at []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			var sw Switch
			a, b := plug(t, &sw, 1), plug(t, &sw, 2)
			a.SetFaults(sent, Faults{})
			b.SetFaults(Faults{}, received)
			for _, n := range numbers(100) {
				a.send(t, address(2), address(1), n)
				synctest.Wait() // the cables wait for frames that are not due
			}
			time.Sleep(time.Minute) // of the bubble
			list, at = b.seen(), b.arrivals
		})
		return list, at
	}
	all := numbers(100)
	for _, sent := range []bool{true, false} {
		in := func(t *testing.T, f Faults) ([]string, []time.Duration) {
			if sent {
				return through(t, f, Faults{})
			}
			return through(t, Faults{}, f)
		}
		list, at := in(t, Faults{Delay: 3 * time.Second})
		assert.Equal(t, all, list)
		assert.Equal(t, 3*time.Second, at[0])
		assert.Equal(t, 3*time.Second, at[99])

		list, _ = in(t, Faults{Cut: true})
		assert.Empty(t, list)

		list, at = in(t, Faults{Bandwidth: 8 * 1000}) // frames of 15 or 16 bytes, 1000 bytes a second
		assert.Equal(t, all, list)
		assert.Equal(t, 15*time.Millisecond, at[0])
		assert.Equal(t, 1590*time.Millisecond, at[99])

		list, _ = in(t, Faults{Loss: 0.3})
		assert.InDelta(t, 70, len(list), 15)
		again, _ := in(t, Faults{Loss: 0.3})
		assert.Equal(t, list, again, "the same seed loses the same frames")

		list, at = in(t, Faults{Reorder: 0.1})
		assert.ElementsMatch(t, all, list)
		assert.NotEqual(t, all, list)
		onTime := 0
		for onTime < len(at) && at[onTime] == 0 {
			onTime++
		}
		assert.InDelta(t, 90, onTime, 9, "frames that do not wait for the late ones")
		assert.Equal(t, reorderBy, at[min(onTime, 99)])
		assert.Equal(t, reorderBy, at[99])
	}
}

// A flood does not keep a slow line busy longer than the frames take for which there was room.
func TestFloodOfASlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sw Switch
		a, b := plug(t, &sw, 1), plug(t, &sw, 2)
		b.SetFaults(Faults{}, Faults{Bandwidth: 8 << 20}) // 1 MiB a second
		payload := string(make([]byte, 60_000))
		for range 1000 {
			a.send(t, address(2), address(1), payload)
		}
		synctest.Wait()
		assert.Greater(t, b.Counters().Dropped, int64(900))
		time.Sleep(5 * time.Second) // of the bubble; 4 MiB were queued
		assert.Equal(t, 1000, len(b.seen())+int(b.Counters().Dropped), "frames that have arrived or were dropped: the line is free again")
	})
}

// A cable that is plugged in again has no faults, and none of the frames on their way.
func TestPlugAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, second Switch
		a, b := plug(t, &first, 1), plug(t, &first, 2)
		b.SetFaults(Faults{}, Faults{Delay: time.Second})
		a.send(t, address(2), address(1), "late")
		synctest.Wait()
		b.Plug(&second, address(2), 0)
		c := plug(t, &second, 3)
		c.send(t, address(2), address(3), "second")
		assert.Equal(t, []string{"second"}, b.seen())
		time.Sleep(time.Minute)
		assert.Empty(t, b.seen())
	})
}

// FuzzStation checks that nobody suffers from a stream but its own station.
func FuzzStation(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 13, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Add(packet(address(2), address(3), "spoofed"))
	f.Add(packet(everybody, everybody, string(make([]byte, 60_000))))
	f.Fuzz(func(t *testing.T, stream []byte) {
		synctest.Test(t, func(t *testing.T) {
			var sw Switch
			hostile, b, c := plug(t, &sw, 1), plug(t, &sw, 2), plug(t, &sw, 3)
			go hostile.conn.Write(stream)
			synctest.Wait()
			b.seen()
			c.seen()
			b.send(t, address(3), address(2), "still here")
			c.send(t, address(2), address(3), "too")
			assert.Equal(t, []string{"still here"}, c.seen())
			assert.Equal(t, []string{"too"}, b.seen())
		})
	})
}
