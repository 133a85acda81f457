package vmtest

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// The endings are those of package vm.
func TestEndings(t *testing.T) {
	for here, there := range map[Ending]vm.Ending{
		EndingPoweroff: vm.EndingPoweroff, EndingReboot: vm.EndingReboot, EndingPanic: vm.EndingPanic, EndingKilled: vm.EndingKilled,
	} {
		assert.EqualValues(t, here, there)
	}
}
