package vmtest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"example.org/systemd-vmtest/internal/tail"
)

func printable(b []byte) string { return tail.Printable(string(b)) }

// VerifyError says that systemd-analyze verify found fault with units.
type VerifyError struct {
	Units  []string
	Output string // what it printed, file and line included
	Err    error  // how it ended when that was not well, or nil
}

func (e *VerifyError) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("verify %s: %v, and it printed nothing", strings.Join(e.Units, " "), e.Err)
	}
	return fmt.Sprintf("verify %s: systemd-analyze has something to say:\n%s", strings.Join(e.Units, " "), e.Output)
}

func (e *VerifyError) Unwrap() error { return e.Err }

// Verify runs systemd-analyze verify on unit files, named by path in the guest.
// Anything that it prints is a *VerifyError: it warns of a misspelt directive and
// still exits with 0.
func (m *Machine) Verify(ctx context.Context, paths ...string) error {
	r, err := m.Run(ctx, Command{Args: append([]string{"systemd-analyze", "verify"}, paths...)})
	var exit *ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if out := strings.TrimSpace(printable(append(r.Stdout, r.Stderr...))); out != "" || err != nil {
		return &VerifyError{Units: paths, Output: out, Err: err}
	}
	return nil
}

// DaemonReload makes systemd read its unit files again.
func (m *Machine) DaemonReload(ctx context.Context) error {
	_, err := m.Run(ctx, Command{Args: []string{"systemctl", "daemon-reload"}})
	return err
}

// EnableNow enables and starts units, and returns what systemctl printed: the
// symbolic links that it made. Units without an [Install] section are an error, which
// they are not to systemctl: nothing would start them after a boot.
func (m *Machine) EnableNow(ctx context.Context, units ...string) (string, error) {
	out, err := m.systemctl(ctx, slices.Concat([]string{"enable", "--now"}, m.runtime(), units))
	if err == nil && strings.Contains(out, "no installation config") {
		err = fmt.Errorf("enable %s: there is no [Install] section, so a boot would not start it; a unit that others start needs no more than systemctl start", strings.Join(units, " "))
	}
	return out, err
}

// Disable disables units, without stopping them, and returns what systemctl
// printed: the symbolic links that it removed.
func (m *Machine) Disable(ctx context.Context, units ...string) (string, error) {
	return m.systemctl(ctx, slices.Concat([]string{"disable"}, m.runtime(), units))
}

// runtime is the option that keeps links of enabled units in /run, for guests where
// no others can be made.
func (m *Machine) runtime() []string {
	if m.Image().RuntimeUnits() {
		return []string{"--runtime"}
	}
	return nil
}

// systemctl returns both streams: it reports links on stderr.
func (m *Machine) systemctl(ctx context.Context, args []string) (string, error) {
	r, err := m.Run(ctx, Command{Args: append([]string{"systemctl"}, args...)})
	return printable(append(r.Stdout, r.Stderr...)), err
}

// Show runs systemctl show on a unit and returns the named properties, or all. A
// property that comes in several lines, such as Listen of a socket with several
// addresses, has them joined by line feeds. A property that there is none of is an
// error; a unit that there is none of is not, and has LoadState=not-found.
func (m *Machine) Show(ctx context.Context, unit string, properties ...string) (map[string]string, error) {
	args := []string{"systemctl", "show"}
	for _, p := range properties {
		args = append(args, "--property="+p)
	}
	r, err := m.Run(ctx, Command{Args: append(args, "--", unit)}) // there is a -.mount
	if err != nil {
		return nil, err
	}
	values := parseShow(string(r.Stdout), properties...)
	return values, m.noSuchProperty(ctx, unit, values, properties)
}

// noSuchProperty is an error when a property has not been shown because there is none
// of that name. An empty list is not shown either.
func (m *Machine) noSuchProperty(ctx context.Context, unit string, shown map[string]string, wanted []string) error {
	var missing []string
	for _, names := range wanted {
		for name := range strings.SplitSeq(names, ",") {
			if _, ok := shown[name]; !ok {
				missing = append(missing, name)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	conn, err := m.Systemd(ctx)
	if err != nil {
		return err
	}
	all, err := conn.GetAllPropertiesContext(ctx, unit)
	if err != nil {
		return nil // a pattern, or a name that systemctl completes
	}
	for _, name := range missing {
		if _, ok := all[name]; !ok {
			return fmt.Errorf("show %s: it has no property %q", unit, name)
		}
	}
	return nil
}

// propertyName matches the names of systemd's properties, org.freedesktop.systemd1(5).
var propertyName = regexp.MustCompile("^[A-Z][A-Za-z0-9]*$")

// parseShow reads what systemctl show prints of one unit, of which the wanted
// properties, or all, were asked for. A value may itself have line feeds: a line that
// begins no property is the last one's.
func parseShow(text string, wanted ...string) map[string]string {
	asked := strings.Split(strings.Join(wanted, ","), ",")
	values := make(map[string]string)
	last := ""
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		line = strings.TrimSuffix(line, "\n")
		name, value, ok := strings.Cut(line, "=")
		if !ok || !propertyName.MatchString(name) || len(wanted) > 0 && !slices.Contains(asked, name) {
			if last == "" {
				continue
			}
			name, value = last, line
		}
		if before, seen := values[name]; seen {
			value = before + "\n" + value
		}
		values[name], last = value, name
	}
	return values
}

// UnitError says that a unit did not come to the state that was waited for.
type UnitError struct {
	Unit, Want  string
	ActiveState string
	SubState    string
	Result      string   // why it failed, e.g. "exit-code"; "" when it did not, or goes on already
	Journal     []string // the last lines of the unit's journal
	Err         error    // why the wait ended
}

func (e *UnitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "wait for %s to be %s: %v; it is %s (%s)", e.Unit, e.Want, e.Err, e.ActiveState, e.SubState)
	if e.Result != "" {
		b.WriteString(", result " + e.Result)
	}
	if len(e.Journal) == 0 {
		b.WriteString("\nits journal is empty")
	}
	for _, line := range e.Journal {
		b.WriteString("\n  | " + line)
	}
	return tail.Printable(b.String()) // states and causes are the guest's words
}

func (e *UnitError) Unwrap() error { return e.Err }

// errFailed is why a wait ends early.
var errFailed = errors.New("the unit failed")

// WaitUnit waits until a unit's ActiveState or SubState is state, such as
// "active", "listening" or "inactive". It looks again after each of systemd's signals
// that may be about the unit, and fails at once, with a *UnitError, when that fails.
// A service of Type=simple, the default, is "active" before its program runs: that it
// works shows when it is talked to, or by Type=notify.
func (m *Machine) WaitUnit(ctx context.Context, unit, state string) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	e := &UnitError{Unit: unit, Want: state}
	err := m.followUnit(ctx, e)
	if err == nil {
		return nil
	}
	if err = m.waitError(ctx, err); errors.As(err, new(*GuestError)) {
		return fmt.Errorf("wait for %s to be %s: %w", unit, state, err) // it cannot tell more
	}
	e.Err = err
	return m.withJournal(ctx, e)
}

// followUnit waits for what e wants, and leaves the last state seen in it.
func (m *Machine) followUnit(ctx context.Context, e *UnitError) error {
	conn, raw, err := m.dialSystemd(ctx)
	if err != nil {
		return err
	}
	signals := watchSignals(raw)
	defer signals.close()
	loaded := false
	for {
		props, err := conn.GetUnitPropertiesContext(ctx, e.Unit)
		if err != nil {
			return fmt.Errorf("read properties: %w", err)
		}
		e.ActiveState, _ = props["ActiveState"].(string)
		e.SubState, _ = props["SubState"].(string)
		loaded = loaded || props["LoadState"] != "not-found"
		switch {
		case !loaded && e.ActiveState == "inactive": // one that is unloaded while it runs is another matter
			return errors.New("there is no such unit")
		case e.Want == e.ActiveState || e.Want == e.SubState:
			return nil
		case e.ActiveState == "failed":
			// At once, and with the state that it belongs to: a unit that is started
			// again has the result of that.
			if all, err := conn.GetAllPropertiesContext(ctx, e.Unit); err == nil && all["ActiveState"] == "failed" {
				e.Result, _ = all["Result"].(string)
			}
			return errFailed
		}
		id, _ := props["Id"].(string)
		if err := signals.next(ctx, concerns(id)); err != nil {
			return err
		}
	}
}

// withJournal adds to e what the unit's journal says.
func (m *Machine) withJournal(ctx context.Context, e *UnitError) error {
	// The wait's own time may be over; the evidence has a little of its own.
	ctx, cancel := forEvidence(ctx)
	defer cancel()
	ctx, cancel = within(ctx, limit{what: "not read", time: evidenceTime})
	defer cancel()
	entries, err := m.Journal(ctx, JournalQuery{Unit: e.Unit, Last: 20})
	if err != nil {
		e.Journal = []string{"its journal cannot be read: " + err.Error()}
	}
	for _, entry := range entries {
		e.Journal = append(e.Journal, entry.String())
	}
	return e
}

// concerns tells the signals after which a unit is worth another look: a change
// of its properties, or of which units and jobs there are. unit is its Id: systemd
// sends nothing under an alias.
func concerns(unit string) func(*godbus.Signal) bool {
	path := unitPath + godbus.ObjectPath(dbus.PathBusEscape(unit))
	return func(s *godbus.Signal) bool {
		return s.Path == path || strings.HasPrefix(s.Name, managerInterface+".")
	}
}
