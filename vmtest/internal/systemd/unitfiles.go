package systemd

import (
	"context"
	"errors"
	"fmt"
	"path"

	godbus "github.com/godbus/dbus/v5"
)

// FileVerb is what systemd is asked to do with unit files, by the name of systemctl's verb.
type FileVerb string

// The verbs of ChangeFiles.
const (
	Enable  FileVerb = "enable"
	Disable FileVerb = "disable"
	Mask    FileVerb = "mask"
	Unmask  FileVerb = "unmask"
)

// FileChange is a change to unit files, as EnableUnitFiles of org.freedesktop.systemd1(5)
// reports it.
type FileChange struct {
	Type   string // "symlink", "unlink", or why nothing changed
	Path   string
	Target string
}

// ErrNoInstall reports that units cannot be enabled because none has installation
// information.
var ErrNoInstall = errors.New("no [Install] section")

// fileChange is a verb on unit files whose answer may be still to come.
type fileChange struct {
	verb    FileVerb
	units   []string
	runtime bool

	asked   bool // and answered
	changes []FileChange
	missing error // ErrNoInstall, or nil
}

// ChangeFiles enables, disables, masks or unmasks units, and then reads unit files again if
// something changed, or if one of the units has other files than systemd has read. runtime
// puts links into /run. It returns the changes. If no unit has an [Install] section, Enable
// is an ErrNoInstall.
func (m *Manager) ChangeFiles(ctx context.Context, verb FileVerb, units []string, runtime bool) ([]FileChange, error) {
	f := &fileChange{verb: verb, units: units, runtime: runtime}
	err := m.follow(ctx, func(c *connection, _ *signals) error { return f.run(ctx, c) })
	return f.changes, err
}

func (f *fileChange) run(ctx context.Context, c *connection) error {
	if !f.asked {
		err := f.ask(ctx, c)
		if err != nil && ctx.Err() == nil && c.lost(err) {
			return fmt.Errorf("%w: %w", errUnanswered, err) // the changes would be lost
		}
		if err != nil && !errors.Is(err, ErrNoInstall) {
			return err
		}
		f.asked, f.missing = true, err
	}
	needed, err := f.needsReload(ctx, c)
	if err == nil && needed {
		err = c.reload(ctx)
	}
	if err != nil {
		return err
	}
	return f.missing
}

// ask makes the call.
func (f *fileChange) ask(ctx context.Context, c *connection) error {
	switch f.verb {
	case Enable:
		var install bool
		if err := c.call(ctx, "EnableUnitFiles", []any{f.units, f.runtime, false}, &install, &f.changes); err != nil {
			return err
		}
		if !install {
			return ErrNoInstall
		}
		return nil
	case Disable:
		return c.call(ctx, "DisableUnitFiles", []any{f.names(), f.runtime}, &f.changes)
	case Mask:
		return c.call(ctx, "MaskUnitFiles", []any{f.names(), f.runtime, false}, &f.changes)
	case Unmask:
		return c.call(ctx, "UnmaskUnitFiles", []any{f.names(), f.runtime}, &f.changes)
	}
	return fmt.Errorf("no such verb: %s", f.verb)
}

// names returns the units' names. The caller may have given paths of unit files.
func (f *fileChange) names() []string {
	var names []string
	for _, unit := range f.units {
		names = append(names, path.Base(unit))
	}
	return names
}

// seesDropIns is a version of systemd whose NeedDaemonReload is true if there is a new
// directory of drop-ins. 247 and 252 overlook it.
const seesDropIns = 257

// needsReload reports whether systemd has to read unit files again.
func (f *fileChange) needsReload(ctx context.Context, c *connection) (bool, error) {
	for _, change := range f.changes {
		if change.Type == "symlink" || change.Type == "unlink" {
			return true, nil
		}
	}
	version, err := c.version(ctx)
	if err != nil || majorOf(version) < seesDropIns {
		return true, err
	}
	for _, unit := range f.names() {
		if IsTemplate(unit) { // it is never loaded
			continue
		}
		p, err := c.unit(ctx, unit)
		if err != nil {
			return false, err
		}
		if p["NeedDaemonReload"] == true {
			return true, nil
		}
	}
	return false, nil
}

// Reload makes systemd read its unit files again, as systemctl daemon-reload does.
func (m *Manager) Reload(ctx context.Context) error {
	return m.follow(ctx, func(c *connection, _ *signals) error { return c.reload(ctx) })
}

// reload returns once the unit files are read: systemd answers then.
func (c *connection) reload(ctx context.Context) error {
	if err := c.call(ctx, "Reload", nil); err != nil {
		return fmt.Errorf("read unit files again: %w", err)
	}
	return nil
}

// IsRefusal reports whether err is systemd's answer that it does not do what was asked.
func IsRefusal(err error) bool { return errors.As(err, new(godbus.Error)) }
