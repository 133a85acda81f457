package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest"
)

// program is what a program of the host needs of a guest.
type program struct {
	path    string
	machine elf.Machine // EM_NONE for a script
	loader  string      // "" if it is static
}

// readProgram reads the program at path. A file that is no ELF may be a script.
func readProgram(path string) (program, error) {
	p := program{path: path}
	f, err := elf.Open(path)
	if errors.As(err, new(*elf.FormatError)) || errors.Is(err, io.EOF) { // shorter than a header
		return p, nil
	} else if err != nil {
		return p, fmt.Errorf("read program: %w", err)
	}
	defer f.Close()
	p.machine = f.Machine
	for _, segment := range f.Progs {
		if segment.Type != elf.PT_INTERP || segment.Filesz > 4096 {
			continue
		}
		name := make([]byte, segment.Filesz)
		if _, err := segment.ReadAt(name, 0); err != nil {
			return p, fmt.Errorf("read program: %s: %w", path, err)
		}
		p.loader = strings.TrimRight(string(name), "\x00")
	}
	return p, nil
}

// checkArch returns an error if a guest of that architecture cannot run the program.
func (p program) checkArch(arch string) error {
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
	if p.machine != elf.EM_NONE && p.machine != want {
		return fmt.Errorf("%s is for %v, and the guest is %s: build it with GOARCH=%s", p.path, p.machine, arch, arch)
	}
	return nil
}

// checkLibraries returns an error if the guest lacks the loader or a library of the program,
// or has an older one. It asks the loader in the guest.
func (p program) checkLibraries(ctx context.Context, m *vmtest.Machine) error {
	if p.loader == "" {
		return nil
	}
	const cure = "build the test with CGO_ENABLED=0, or add what is missing with --package or --with"
	result, err := m.Exec(ctx, vmtest.Command{Args: []string{p.loader, "--list", p.path}})
	if errors.As(err, new(*vmtest.StartError)) && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not static, and the guest (%s) has no loader %s: %s", p.path, m.Image().Name, p.loader, cure)
	} else if err != nil {
		return err
	}
	var lacks []string
	for line := range strings.Lines(string(result.Stdout) + string(result.Stderr)) {
		// The texts of glibc: of a library or a version of one, and of a loader that gave up.
		if strings.Contains(line, "not found") || strings.Contains(line, "cannot open shared object") {
			lacks = append(lacks, "\n  "+tail.Printable(strings.TrimSpace(line)))
		}
	}
	if len(lacks) == 0 {
		return nil // any other failure of the loader is one of the program, too
	}
	return fmt.Errorf("%s is not static, and the guest (%s) lacks some of what it needs: %s; the guest's loader reported:%s",
		p.path, m.Image().Name, cure, strings.Join(lacks, ""))
}
