package vmtest

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// A QEMU that closes its monitor and goes on is an error like others, and a console
// that nobody reads does not hold it up.
func TestStartOfADumbQEMU(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "qemu")
	script := "#!/bin/sh\n" +
		"for fd in 3 4 5 6 7 8 9; do eval \"echo x >&$fd\"; eval \"exec $fd>&-\"; done 2>/dev/null\n" +
		"exec sleep infinity\n"
	require.NoError(t, os.WriteFile(binary, []byte(script), 0o755))
	in := &inputs{image: &images.Image{Manifest: images.Manifest{Name: "debian-13"}}}
	_, console := io.Pipe()
	_, err := start(t.Context(), Config{Console: console}, in, qemu.Machine{Arch: "amd64", Binary: binary, Memory: 512})
	var guest *GuestError
	require.ErrorAs(t, err, &guest)
	assert.ErrorContains(t, err, "QEMU's monitor is closed while QEMU goes on")
}
