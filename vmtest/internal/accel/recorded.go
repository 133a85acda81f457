package accel

import (
	"fmt"
	"os"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// Recorded returns an error if this host has not the accelerator under which a machine was
// saved, or if $VMTEST_ACCEL names the other one.
func Recorded(saved qemu.Accel) error {
	if v := os.Getenv("VMTEST_ACCEL"); (v == "kvm" || v == "tcg") && v != string(saved) {
		return fmt.Errorf("it was saved under %s, which no other accelerator loads, and VMTEST_ACCEL is %s", saved, v)
	}
	switch saved {
	case qemu.TCG:
		return nil
	case qemu.KVM:
		f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
		if err != nil {
			return &host.Error{Cause: fmt.Sprintf("it was saved under kvm, which no other accelerator loads: %v", err),
				Cure: "resume it where KVM is, or run the test with VMTEST_ACCEL=tcg", Check: host.KVM, Err: err}
		}
		return f.Close()
	}
	return fmt.Errorf("its accelerator is %q, not kvm or tcg", saved)
}
