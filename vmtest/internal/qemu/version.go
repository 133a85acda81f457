package qemu

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
)

// Installed returns the path of this host's QEMU for guests of an architecture, as in
// runtime.GOARCH, and the first line that it prints of its version. The error is a
// *host.Error if there is no QEMU.
func Installed(ctx context.Context, arch string) (path, version string, err error) {
	if path, err = (Machine{Arch: arch}).binary(); err != nil {
		return "", "", err
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return path, "", fmt.Errorf("run %s --version: %w", path, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return path, tail.Printable(strings.TrimSpace(line)), nil
}
