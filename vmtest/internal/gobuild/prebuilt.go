package gobuild

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"go/build"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// prebuilt returns the executable of the Go command pkg from dir. Its file has the name
// of the last element of pkg.
func prebuilt(dir, pkg, arch string) ([]byte, error) {
	name := filepath.Join(dir, path.Base(filepath.ToSlash(pkg)))
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read %s from VMTEST_GO_PREBUILT: %w", pkg, err)
	}
	err = checkExecutable(data, arch)
	if err == nil {
		err = checkPackage(data, pkg)
	}
	if err != nil {
		return nil, fmt.Errorf("check %s from VMTEST_GO_PREBUILT: %s: %w", pkg, name, err)
	}
	return data, nil
}

// checkPackage returns an error unless data is an executable of the package pkg. The
// import path of a ./path need only end in the path, because there may be no go command
// to resolve it.
func checkPackage(data []byte, pkg string) error {
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("read build information: %w", err)
	}
	same := info.Path == pkg
	if build.IsLocalImport(pkg) || filepath.IsAbs(pkg) {
		end := strings.TrimLeft(path.Clean(filepath.ToSlash(pkg)), "./")
		if filepath.IsAbs(pkg) {
			end = path.Base(end)
		}
		same = strings.HasSuffix("/"+info.Path, "/"+end) || end == ""
	}
	if !same {
		return fmt.Errorf("executable is of package %s", info.Path)
	}
	return nil
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
