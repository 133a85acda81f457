package vmtest

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// WriteDropIn writes a file of settings for the unit (systemd.unit(5), drop-ins), such as
// "10-limits.conf", or replaces it, and makes systemd read unit files again:
//
//	u.WriteDropIn(ctx, "10-timeout.conf", "[Service]\nTimeoutStopSec=5s\n")
//
// Processes that run keep what they were started with, and a socket its addresses; restart
// the unit to change these. The file is in the directory of the guest's own units,
// /etc/systemd/system as a rule, or for a user's unit in the user's ~/.config/systemd/user.
// If systemd does not read the file, or refuses the unit because of it, that is a
// *[UnitError], and the file stays. A text with a NUL, or with a line that is longer than
// systemd reads, is an fs.ErrInvalid, and nothing is written.
func (u *MachineUnit) WriteDropIn(ctx context.Context, name, text string) error {
	if err := checkUnitText(text); err != nil {
		return fmt.Errorf("write drop-in %s of %s: %w", tail.Printable(name), tail.Printable(u.name), err)
	}
	file, err := u.dropIn(name)
	if err != nil {
		return err
	}
	if err := u.machine.WriteFile(ctx, file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write drop-in: %w", err)
	}
	if err := u.machine.DaemonReload(ctx); err != nil || systemd.IsTemplate(u.name) {
		return err
	}
	if err := u.read(ctx, file); err != nil {
		return u.fail(ctx, &UnitError{Op: "write drop-in " + name + " of", ExitCode: -1}, err)
	}
	return nil
}

// longestLine is the most bytes of a line that systemd reads (its LONG_LINE_MAX). It drops
// all of a drop-in with a longer one, and only logs that.
const longestLine = 1 << 20

// checkUnitText returns an error if systemd would read a text in another way than it looks.
func checkUnitText(text string) error {
	if strings.Contains(text, "\x00") {
		return fmt.Errorf("the text has a NUL, where systemd would end the line: %w", fs.ErrInvalid)
	}
	for line := range strings.Lines(text) {
		if len(line) > longestLine {
			return fmt.Errorf("the text has a line of %d bytes, and systemd reads at most %d: %w", len(line), longestLine, fs.ErrInvalid)
		}
	}
	return nil
}

// read returns an error if systemd has not read a drop-in of the unit.
func (u *MachineUnit) read(ctx context.Context, file string) error {
	p, err := u.machine.units().Properties(ctx, u.name)
	if err != nil {
		return err
	}
	if s := unitState(p); s.LoadState != "loaded" {
		return fmt.Errorf("the unit is %s: %s", s.LoadState, s.LoadError)
	}
	if files, _ := p["DropInPaths"].([]string); !slices.Contains(files, file) {
		return fmt.Errorf("systemd did not read %s", file)
	}
	return nil
}

// RemoveDropIn removes what WriteDropIn wrote, and makes systemd read unit files again. A
// drop-in that is not there is an fs.ErrNotExist.
func (u *MachineUnit) RemoveDropIn(ctx context.Context, name string) error {
	file, err := u.dropIn(name)
	if err != nil {
		return err
	}
	err = public(u.machine.vm.With(ctx, "remove a file in", func(ctx context.Context, s *link.Client) error {
		return s.Remove(ctx, file)
	}))
	if err != nil {
		return fmt.Errorf("remove drop-in: %w", err)
	}
	return u.machine.DaemonReload(ctx)
}

// dropInName matches the names of drop-ins.
var dropInName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]*\.conf$`)

// dropIn returns the path of a drop-in of the unit.
func (u *MachineUnit) dropIn(name string) (string, error) {
	if err := systemd.CheckUnitName(u.name); err != nil {
		return "", fmt.Errorf("drop-in: %w", public(err))
	}
	if !dropInName.MatchString(name) || len(name) > 200 {
		return "", fmt.Errorf("%.100q is not the name of a drop-in, such as 10-limits.conf", name)
	}
	return path.Join(u.machine.unitDir(), u.name+".d", name), nil
}

// unitDir returns the directory of the guest for the units of a test.
func (m *Machine) unitDir() string {
	if m.user == nil {
		return m.Image().UnitDir()
	}
	return path.Join(m.user.Home, ".config/systemd/user")
}

// WriteDropIn writes a file of settings for the unit, and makes systemd read unit files
// again, as MachineUnit.WriteDropIn.
func (u *Unit) WriteDropIn(t testing.TB, name, text string) {
	t.Helper()
	u.guest.do(t, func(ctx context.Context) error { return u.unit.WriteDropIn(ctx, name, text) })
}

// RemoveDropIn removes what WriteDropIn wrote, as MachineUnit.RemoveDropIn.
func (u *Unit) RemoveDropIn(t testing.TB, name string) {
	t.Helper()
	u.guest.do(t, func(ctx context.Context) error { return u.unit.RemoveDropIn(ctx, name) })
}
