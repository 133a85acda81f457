package gobuild

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
)

// prebuilt returns a program for the guest that was built beforehand, from dir, which
// holds executables by the last element of their import path.
func prebuilt(dir, pkg, arch string) ([]byte, error) {
	name := filepath.Join(dir, path.Base(filepath.ToSlash(pkg)))
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("find %s for the guest in VMTEST_GO_PREBUILT: %w", pkg, err)
	}
	if err := checkExecutable(data, arch); err != nil {
		return nil, fmt.Errorf("use %s, which VMTEST_GO_PREBUILT holds for %s: %w", name, pkg, err)
	}
	return data, nil
}

// checkExecutable finds what cannot run in the guest, of which systemd there would
// say no more than status=203/EXEC.
func checkExecutable(data []byte, arch string) error {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("read executable: %w", err)
	}
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]; f.Machine != want {
		return fmt.Errorf("it is built for %v, the guest is %s", f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("it is not static (build it with CGO_ENABLED=0)")
		}
	}
	return nil
}
