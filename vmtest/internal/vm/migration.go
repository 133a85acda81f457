package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
)

// moveTo migrates the stopped machine with its memory to another QEMU.
func (m *Machine) moveTo(ctx context.Context, to *Machine) error {
	out, in, err := host.SocketPair("migration")
	if err != nil {
		return err
	}
	defer out.Close()
	defer in.Close()
	if err := to.prepareMigration(ctx, in, false); err != nil {
		return err
	}
	if err := to.migrateIn(ctx); err != nil {
		return err
	}
	if err := m.migrateOut(ctx, out, false); err != nil {
		return err
	}
	// Each QEMU has its own descriptor. While these are open, neither sees the other's end.
	in.Close()
	out.Close()
	err = m.migrated(ctx)
	if err == nil {
		err = to.migrated(ctx)
	}
	if err != nil {
		// The reason why the other QEMU has gone comes a moment after its end.
		select {
		case <-to.Done():
			return fmt.Errorf("move memory: %w; %w", err, to.process.Err())
		case <-time.After(exitTime):
		}
	}
	return err
}

// saveDevices writes the state of a stopped machine without its memory to a file.
func (m *Machine) saveDevices(ctx context.Context, state *os.File) error {
	if err := m.migrateOut(ctx, state, true); err != nil {
		return err
	}
	return m.migrated(ctx)
}

// migrateIn begins to load a machine from the file of prepareMigration.
func (m *Machine) migrateIn(ctx context.Context) error {
	return m.monitor.Execute(ctx, "migrate-incoming", map[string]string{"uri": "fd:" + migrationFile}, nil, nil)
}

// migrateOut begins to write a machine to f, without its memory if devicesOnly.
func (m *Machine) migrateOut(ctx context.Context, f *os.File, devicesOnly bool) error {
	if err := m.prepareMigration(ctx, f, devicesOnly); err != nil {
		return err
	}
	return m.monitor.Execute(ctx, "migrate", map[string]string{"uri": "fd:" + migrationFile}, nil, nil)
}

// migrationFile is the name that a descriptor has in QEMU.
const migrationFile = "migration"

// prepareMigration passes the file of a migration to QEMU. devicesOnly says that the file
// has no memory.
func (m *Machine) prepareMigration(ctx context.Context, f *os.File, devicesOnly bool) error {
	type capability struct {
		Capability string `json:"capability"`
		State      bool   `json:"state"`
	}
	m.events.update(func(seen *events) { seen.migration = "" }) // of the last migration
	err := m.monitor.Execute(ctx, "migrate-set-capabilities", map[string]any{"capabilities": []capability{
		{"events", true},
		{"x-ignore-shared", devicesOnly},
	}}, nil, nil)
	if err != nil {
		return err
	}
	const noLimit = 1 << 40 // bytes a second
	err = m.monitor.Execute(ctx, "migrate-set-parameters", map[string]int{
		"max-bandwidth":   noLimit,
		"announce-rounds": 0, // of network interfaces, which are in no network yet
	}, nil, nil)
	if err != nil {
		return err
	}
	return m.monitor.Execute(ctx, "getfd", map[string]string{"fdname": migrationFile}, nil, f)
}

// migrated waits until the migration in progress has ended.
func (m *Machine) migrated(ctx context.Context) error {
	var status string
	err := m.events.wait(ctx, func(seen events) bool {
		status = seen.migration
		return status == "completed" || status == "failed" || status == "cancelled"
	})
	switch {
	case errors.Is(err, qmp.ErrClosed):
		return err
	case err != nil:
		return fmt.Errorf("migrate (status %q): %w", status, err)
	case status != "completed":
		var info struct {
			ErrorDesc string `json:"error-desc"`
		}
		if err := m.monitor.Execute(ctx, "query-migrate", nil, &info, nil); err != nil {
			return err
		}
		return fmt.Errorf("migrate: %s: %s", status, info.ErrorDesc)
	}
	return nil
}
