package vm

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

func TestAdvanceThatFails(t *testing.T) {
	h := newFakeHost(t)
	m, fake := h.bootFake()
	assert.ErrorContains(t, m.Advance(t.Context(), -time.Second), "time does not go back")

	fake.on["human-monitor-command"] = func(json.RawMessage) (any, error) { return "unknown command\r\n", nil }
	assert.ErrorContains(t, m.Advance(t.Context(), time.Second), `answered "i /w 0x608" with "unknown command`)
	assert.Equal(t, "cont", fake.asked[len(fake.asked)-1], "the guest runs on")

	// What is no emulator has no such clock.
	fake.on["human-monitor-command"] = func(json.RawMessage) (any, error) { return "portl[0x0608] = 0x00123456\r\n", nil }
	assert.ErrorIs(t, m.Advance(t.Context(), time.Second), qemu.ErrNoClock)
	assert.Equal(t, "cont", fake.asked[len(fake.asked)-1], "the guest runs on")

	fake.on["stop"] = func(json.RawMessage) (any, error) { return nil, errors.New("cannot stop") }
	assert.ErrorContains(t, m.Advance(t.Context(), time.Second), "cannot stop")

	m.spec.Files.Accel = qemu.KVM
	var lacks *host.Error
	assert.ErrorAs(t, m.Advance(t.Context(), time.Second), &lacks)
}

// A clock is proven by one interval in which both values went on alike. In others QEMU may have
// been preempted between its two reads.
func TestProveClock(t *testing.T) {
	var now qemu.Reading
	prove := func(step func(reading int)) (readings int, err error) {
		now = qemu.Reading{Elapsed: 20 * time.Second, Ticks: 52e9}
		err = proveClock(func() (qemu.Reading, error) { return now, nil }, func() error {
			readings++
			step(readings)
			return nil
		})
		return readings, err
	}
	n, err := prove(func(int) { now = now.Later(time.Millisecond) })
	assert.NoError(t, err)
	assert.Equal(t, 1, n)

	n, err = prove(func(reading int) {
		now = now.Later(time.Millisecond)
		if reading < 4 {
			now.Elapsed += 3 * time.Millisecond // preempted after it read the ticks
		}
	})
	assert.NoError(t, err)
	assert.Equal(t, 4, n)

	n, err = prove(func(int) { now.Elapsed += time.Millisecond })
	assert.ErrorIs(t, err, qemu.ErrNoClock)
	assert.ErrorContains(t, err, "read 10 times")
	assert.Equal(t, mostReadings, n)

	_, err = prove(func(int) {})
	assert.ErrorIs(t, err, qemu.ErrNoClock, "a clock that stands")
	gone := errors.New("gone")
	assert.ErrorIs(t, proveClock(func() (qemu.Reading, error) { return now, nil }, func() error { return gone }), gone)
	assert.ErrorIs(t, proveClock(func() (qemu.Reading, error) { return now, gone }, nil), gone)
}

// The host's time for which the guest stood stopped does not count as the guest's.
func TestAdvanceAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Machine{}
		m.clock.change(time.Hour)
		began := time.Now()
		guestTime := func() time.Time { return m.GuestTime(time.Now()).Add(-time.Hour) }
		a := advance{m: m, notedAt: began}
		time.Sleep(3 * time.Second) // the guest stands
		a.passed = time.Minute      // a leap
		a.note()
		assert.Equal(t, began.Add(time.Minute), guestTime())
		time.Sleep(2 * time.Second) // it runs
		assert.Equal(t, began.Add(time.Minute+2*time.Second), guestTime())
		a.passed += 2 * time.Second
		time.Sleep(4 * time.Second) // it stands again
		a.passed += time.Minute
		a.note()
		assert.Equal(t, began.Add(2*time.Minute+2*time.Second), guestTime())

		// The times before stay what they were.
		assert.Equal(t, began.Add(time.Hour), m.GuestTime(began))
		assert.Equal(t, began.Add(time.Hour+time.Minute+time.Second), m.GuestTime(began.Add(4*time.Second)))

		m.clock.change(0) // someone sets the clock meanwhile
		a.passed += time.Minute
		a.note()
		assert.Equal(t, time.Minute, m.Ahead())
	})
}

// A machine that is being saved or restarted does not advance meanwhile.
func TestAdvanceAlone(t *testing.T) {
	h := newFakeHost(t)
	m, _ := h.bootFake()
	release, err := m.hold(t.Context(), "reboot")
	assert.NoError(t, err)
	defer release()
	assert.ErrorContains(t, m.Advance(t.Context(), time.Second), "a reboot of the machine is in progress")
}
