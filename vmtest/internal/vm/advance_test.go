package vm

import (
	"encoding/json"
	"errors"
	"testing"
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

// A machine that is being saved or restarted does not advance meanwhile.
func TestAdvanceAlone(t *testing.T) {
	h := newFakeHost(t)
	m, _ := h.bootFake()
	release, err := m.hold(t.Context(), "reboot")
	assert.NoError(t, err)
	defer release()
	assert.ErrorContains(t, m.Advance(t.Context(), time.Second), "a reboot of the machine is in progress")
}
