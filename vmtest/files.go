package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
)

// Copy copies a file or a folder of the host to guestPath, modes kept and
// symbolic links as links. The folder that is to hold guestPath must exist; of a
// folder that is there already, what has the same name is replaced.
func (m *Machine) Copy(ctx context.Context, hostPath, guestPath string) error {
	return m.fileOp(ctx, "copy "+hostPath+" into", func(ctx context.Context) error {
		return m.session().CopyIn(ctx, hostPath, guestPath)
	})
}

// CopyFS copies all of fsys into a folder of the guest, which is made when it is
// not there. Modes are kept as fsys reports them; an embed.FS reports 0444.
func (m *Machine) CopyFS(ctx context.Context, fsys fs.FS, guestDir string) error {
	return m.fileOp(ctx, "copy files into", func(ctx context.Context) error {
		return m.session().CopyFS(ctx, fsys, guestDir)
	})
}

// WriteFile makes a file in the guest, or replaces it, in one step: nobody sees
// half of it.
func (m *Machine) WriteFile(ctx context.Context, guestPath string, data []byte, mode fs.FileMode) error {
	return m.fileOp(ctx, "write a file in", func(ctx context.Context) error {
		return m.session().WriteFile(ctx, guestPath, data, mode)
	})
}

// InstallGo builds a Go command for the guest, static, and puts it at guestPath with
// mode 0755. pkg is an import path or a ./path, seen from the current folder's module,
// which is the test's. A Template's Prepare may use it. Flags in GOFLAGS hold, such as
// -tags, but for -ldflags and those that a static program cannot be built with, such as
// -race.
//
// The executable is kept in the cache, where the go command finds out by itself
// whether it is up to date, and for as long as it is used once a month. Where there
// is no go command, $VMTEST_GO_PREBUILT names a folder of executables, each called
// after the last element of its import path; then nothing is built.
func (m *Machine) InstallGo(ctx context.Context, pkg, guestPath string) error {
	program, err := m.buildGo(ctx, pkg)
	if err != nil {
		return err
	}
	return m.WriteFile(ctx, guestPath, program, programMode)
}

const programMode = 0o755

// buildGo is the part of InstallGo that takes no guest.
func (m *Machine) buildGo(ctx context.Context, pkg string) ([]byte, error) {
	return goProgram(ctx, pkg, m.Image().Arch, m.config.notice)
}

// ReadFile returns the content of a file in the guest, of at most 64 MiB.
func (m *Machine) ReadFile(ctx context.Context, guestPath string) (data []byte, err error) {
	err = m.fileOp(ctx, "read a file in", func(ctx context.Context) error {
		data, err = m.session().ReadFile(ctx, guestPath)
		return err
	})
	return data, err
}

// CopyOut copies a file of the guest to hostPath.
func (m *Machine) CopyOut(ctx context.Context, guestPath, hostPath string) error {
	return m.fileOp(ctx, "copy "+guestPath+" out of", func(ctx context.Context) error {
		return m.session().CopyOut(ctx, guestPath, hostPath)
	})
}

func (m *Machine) fileOp(ctx context.Context, doing string, op func(context.Context) error) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	err := op(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return m.overdue(ctx, doing, m.gone(doing, err))
}

// Dial connects from the host to an address inside the guest, through the guest
// link: "tcp" with host:port, or "unix" with a path or an @abstract name. The
// guest needs no network for it. The caller closes the connection, which also has
// CloseWrite, as *net.TCPConn has it.
func (m *Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	conn, err := m.session().Dial(ctx, network, address)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("dial %s %s in the guest: %w", network, address, m.overdue(ctx, "lost", m.gone("lost", err)))
	}
	return conn, nil
}
