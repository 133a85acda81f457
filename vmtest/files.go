package vmtest

import (
	"context"
	"io/fs"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// Copy copies a file or a directory of the host to guestPath. It keeps modes, and copies
// symbolic links as links. If guestPath is a directory already, Copy replaces what has the
// same name there.
//
// What Copy, CopyFS, WriteFile and InstallGo write belongs to root, or on a machine of AsUser
// to the user. They make missing directories above it, with mode 0755.
func (m *Machine) Copy(ctx context.Context, hostPath, guestPath string) error {
	m.announced.testHost(hostPath, guestPath)
	return m.inputs.Path(hostPath, func() error {
		return public(m.vm.With(ctx, "copy "+hostPath+" into", func(ctx context.Context, s *link.Client) error {
			return s.Files(m.owner()).CopyIn(ctx, hostPath, guestPath)
		}))
	})
}

// CopyFS copies all of fsys into a directory of the guest, and makes that if it does not
// exist. Modes are those that fsys reports; an embed.FS reports 0444, and
// an fstest.MapFS without Mode 0000, which only root can read.
func (m *Machine) CopyFS(ctx context.Context, fsys fs.FS, guestDir string) error {
	m.announced.testFS(fsys, guestDir)
	return m.inputs.FS(fsys, func() error {
		return public(m.vm.With(ctx, "copy files into", func(ctx context.Context, s *link.Client) error {
			return s.Files(m.owner()).CopyFS(ctx, fsys, guestDir)
		}))
	})
}

// CopyOut copies a regular file of the guest, with its mode, to hostPath, and replaces a file
// there. The directory of hostPath must exist.
//
// Of a directory it copies the regular files and the directories below it, at most 1 GiB, into
// the directory hostPath, which it makes if that does not exist. Anything else there, such as a
// symbolic link, is not copied, which is an errors.ErrUnsupported after all else was.
func (m *Machine) CopyOut(ctx context.Context, guestPath, hostPath string) error {
	return public(m.vm.With(ctx, "copy "+guestPath+" out of", func(ctx context.Context, s *link.Client) error {
		return s.CopyOut(ctx, guestPath, hostPath)
	}))
}

// WriteFile writes a file in the guest with the permissions of mode, or replaces it. It
// makes missing directories, as Copy does. No process there sees a part of the file.
func (m *Machine) WriteFile(ctx context.Context, guestPath string, data []byte, mode fs.FileMode) error {
	m.announced.testFile(guestPath)
	return m.writeFile(ctx, guestPath, data, mode)
}

// writeFile is WriteFile for a file that is not the test's.
func (m *Machine) writeFile(ctx context.Context, guestPath string, data []byte, mode fs.FileMode) error {
	return public(m.vm.With(ctx, "write a file in", func(ctx context.Context, s *link.Client) error {
		return s.Files(m.owner()).WriteFile(ctx, guestPath, data, mode)
	}))
}

// ReadFile returns the content of a file in the guest, of at most 64 MiB. A file that does
// not exist is an fs.ErrNotExist to errors.Is.
func (m *Machine) ReadFile(ctx context.Context, guestPath string) (data []byte, err error) {
	err = public(m.vm.With(ctx, "read a file in", func(ctx context.Context, s *link.Client) error {
		data, err = s.ReadFile(ctx, guestPath)
		return err
	}))
	return data, err
}

// InstallGo builds a Go command for the guest and writes it to guestPath with mode 0755.
// The executable is static. pkg is an import path, or a ./path in the module of the
// working directory, which for a test is that of its package. Flags in GOFLAGS apply,
// such as -tags, except -ldflags and those that a static executable cannot be built with,
// such as -race.
//
// The cache keeps the executable until it is unused for a month, and the go command
// brings it up to date. If $VMTEST_GO_PREBUILT is set, nothing is built: it names a
// directory of executables, each named after the last element of its import path.
func (m *Machine) InstallGo(ctx context.Context, pkg, guestPath string) error {
	program, err := m.buildGo(ctx, pkg)
	if err != nil {
		return err
	}
	return m.installGo(ctx, guestPath, program)
}

// installGo is the part of InstallGo that happens in the guest.
func (m *Machine) installGo(ctx context.Context, guestPath string, program []byte) error {
	if err := m.WriteFile(ctx, guestPath, program, programMode); err != nil {
		return err
	}
	return m.cover(ctx, guestPath)
}

const programMode = 0o755

// buildGo is the part of InstallGo that happens on the host.
func (m *Machine) buildGo(ctx context.Context, pkg string) ([]byte, error) {
	return recordGo(ctx, m.inputs, pkg, m.Image().Arch, m.config.notice)
}

// Copy copies a file or directory of the host, as Machine.Copy.
func (g *Guest) Copy(t testing.TB, hostPath, guestPath string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.Copy(ctx, hostPath, guestPath) })
}

// CopyFS copies all of fsys into a directory of the guest, as Machine.CopyFS.
func (g *Guest) CopyFS(t testing.TB, fsys fs.FS, guestDir string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.CopyFS(ctx, fsys, guestDir) })
}

// WriteFile writes a file in the guest, or replaces it, as Machine.WriteFile.
func (g *Guest) WriteFile(t testing.TB, guestPath string, data []byte, mode fs.FileMode) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.WriteFile(ctx, guestPath, data, mode) })
}

// ReadFile returns the content of a file in the guest, as Machine.ReadFile.
func (g *Guest) ReadFile(t testing.TB, guestPath string) []byte {
	t.Helper()
	return get(t, g, func(ctx context.Context) ([]byte, error) { return g.Machine.ReadFile(ctx, guestPath) })
}

// InstallGo builds a Go command for the guest and writes it to guestPath, as
// Machine.InstallGo. OpTimeout does not bound the build, which happens on the host.
func (g *Guest) InstallGo(t testing.TB, pkg, guestPath string) {
	t.Helper()
	var program []byte
	g.bounded(t, deadline.Limit{}, func(ctx context.Context) (err error) {
		program, err = g.Machine.buildGo(ctx, pkg)
		return err
	})
	g.do(t, func(ctx context.Context) error { return g.Machine.installGo(ctx, guestPath, program) })
}

// CopyOut copies a file or directory of the guest to hostPath, as Machine.CopyOut.
func (g *Guest) CopyOut(t testing.TB, guestPath, hostPath string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.CopyOut(ctx, guestPath, hostPath) })
}
