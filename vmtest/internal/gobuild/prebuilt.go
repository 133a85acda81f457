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

// prebuilt returns the executable of the Go command pkg from dir. Its file has the name
// of the last element of pkg.
func prebuilt(dir, pkg, arch string) ([]byte, error) {
	name := filepath.Join(dir, path.Base(filepath.ToSlash(pkg)))
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read %s from VMTEST_GO_PREBUILT: %w", pkg, err)
	}
	if err := checkExecutable(data, arch); err != nil {
		return nil, fmt.Errorf("check %s from VMTEST_GO_PREBUILT: %s: %w", pkg, name, err)
	}
	return data, nil
}

// checkExecutable returns an error unless data is a static executable for arch. In the
// guest systemd would report any other file only as status=203/EXEC.
func checkExecutable(data []byte, arch string) error {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("read executable: %w", err)
	}
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]; f.Machine != want {
		return fmt.Errorf("executable is for %v, guest is %s", f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("executable is not static (build it with CGO_ENABLED=0)")
		}
	}
	return nil
}
