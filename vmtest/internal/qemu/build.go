package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"example.org/systemd-vmtest/internal/host"
)

// Build is what another host's QEMU must be to load a snapshot that this host's has saved.
// Unlike a Fingerprint it names no file of a host.
type Build struct {
	Version string `json:"version"` // the first line that QEMU prints of it
	SHA256  string `json:"sha256"`  // of the executable
	// Processor describes the processor and the kernel of a host with KVM. It is "" under
	// emulation, where the guest sees neither.
	Processor string `json:"processor,omitempty"`
}

// IdentifyBuild returns the build of this host's QEMU for m.
func IdentifyBuild(ctx context.Context, m Machine) (Build, error) {
	path, version, err := Installed(ctx, m.Arch)
	if err != nil {
		return Build{}, err
	}
	b := Build{Version: version}
	f, err := os.Open(path)
	if err != nil {
		return Build{}, fmt.Errorf("identify QEMU: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, host.Reader(ctx, f)); err != nil {
		return Build{}, fmt.Errorf("identify QEMU: %w", err)
	}
	b.SHA256 = hex.EncodeToString(h.Sum(nil))
	if m.Accel == KVM {
		b.Processor, err = identifyHost()
	}
	return b, err
}

// Loads returns an error that names both builds if this one does not load what the other
// has saved.
func (b Build) Loads(saved Build) error {
	switch {
	case b.Version != saved.Version:
		return fmt.Errorf("QEMU of another version: it was saved by %q, and this host has %q", saved.Version, b.Version)
	case b.SHA256 != saved.SHA256:
		return fmt.Errorf("another build of QEMU: it was saved by %q with the SHA-256 %.16s, and this host's %q has %.16s",
			saved.Version, saved.SHA256, b.Version, b.SHA256)
	case b.Processor != saved.Processor:
		return fmt.Errorf("another processor or kernel under KVM: it was saved on %q, and this host has %q", saved.Processor, b.Processor)
	}
	return nil
}
