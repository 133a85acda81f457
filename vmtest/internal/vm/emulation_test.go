package vm

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/boot"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

func TestEmulationIsNoticedOnce(t *testing.T) {
	emulationNoticed = sync.Once{}
	var said []string
	i := Instance{Notice: func(text string) { said = append(said, text) }}
	Spec{Files: &boot.Files{}, Instance: i}.noticeEmulation()
	assert.Empty(t, said, "nothing to explain")
	for _, fault := range []string{"this host has no /dev/kvm", "another"} {
		Spec{Files: &boot.Files{KVMFault: fault}, Instance: i}.noticeEmulation()
	}
	assert.Equal(t, []string{"guests are emulated (TCG): this host has no /dev/kvm"}, said)
}

// The notice comes only with a boot, because a person wonders why that takes so long.
func TestEmulationIsNoticedAtABoot(t *testing.T) {
	emulationNoticed = sync.Once{}
	newFakeHost(t)
	var said notices
	s := fakeSnapshot(t, deviceState, link.Handshake{})
	s.spec.Files.KVMFault = "this host has no /dev/kvm"
	i := someInstance()
	i.Notice = said.add
	m, err := s.Fork(t.Context(), i)
	require.NoError(t, err)
	m.Close()
	assert.Zero(t, said.count("emulated"), "notices of a fork")
	s.spec.Instance = i
	for range 2 {
		m, err := Boot(t.Context(), s.spec)
		require.NoError(t, err)
		m.Close()
	}
	assert.Equal(t, 1, said.count("emulated"), "notices of two boots")
}
