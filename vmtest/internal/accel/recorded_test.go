package accel

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

func TestRecorded(t *testing.T) {
	t.Setenv("VMTEST_ACCEL", "")
	assert.NoError(t, Recorded(qemu.TCG))
	assert.EqualError(t, Recorded("hvf"), `its accelerator is "hvf", not kvm or tcg`)
	t.Setenv("VMTEST_ACCEL", "tcg")
	assert.NoError(t, Recorded(qemu.TCG))
	assert.EqualError(t, Recorded(qemu.KVM), "it was saved under kvm, which no other accelerator loads, and VMTEST_ACCEL is tcg")
}
