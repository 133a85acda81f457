package vm

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/boot"
)

func TestEmulationIsSaidOnce(t *testing.T) {
	saidEmulation = sync.Once{}
	var said []string
	i := Instance{Notice: func(text string) { said = append(said, text) }}
	Spec{Files: &boot.Files{}, Instance: i}.NoticeEmulation()
	assert.Empty(t, said, "there is nothing to explain")
	for _, fault := range []string{"this host has no /dev/kvm", "another"} {
		Spec{Files: &boot.Files{KVMFault: fault}, Instance: i}.NoticeEmulation()
	}
	assert.Equal(t, []string{"guests are emulated (TCG): this host has no /dev/kvm"}, said)
}
