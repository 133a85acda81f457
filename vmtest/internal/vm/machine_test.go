package vm

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// A QEMU that closes its monitor and goes on is an error like others. A console that
// nobody reads does not block it.
func TestStartOfAQEMUWithoutMonitor(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	binary := filepath.Join(t.TempDir(), leaverName)
	require.NoError(t, os.Symlink(self, binary))
	_, console := io.Pipe()
	s := Spec{Files: someFiles(), Instance: Instance{Console: console}}
	_, err = start(t.Context(), s, qemu.Machine{Arch: "amd64", Binary: binary, Memory: 512}, nil)
	var guest *GuestError
	require.ErrorAs(t, err, &guest)
	assert.ErrorContains(t, err, "QEMU's monitor is closed while QEMU runs")
}

// A QEMU whose monitor does not answer is reported as a boot that takes too long.
func TestStartOfASilentMonitor(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = func(f *fakeMachine) { f.mute = true }
	s := someSpec(t)
	s.BootTimeout = 100 * time.Millisecond
	_, err := Boot(t.Context(), s)
	require.ErrorAs(t, err, new(*GuestError))
	assert.ErrorContains(t, err, "start debian-13: QMP handshake: not up within ")
	assert.ErrorContains(t, err, "asking QEMU's monitor failed: it is not connected, and the agent has not come up")
}
