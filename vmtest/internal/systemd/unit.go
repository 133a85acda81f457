package systemd

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// UnitState is what a call saw last of a unit. Its fields are "" if the call saw nothing.
type UnitState struct {
	ID          string // the unit's own name, if it was asked for by an alias
	LoadState   string
	LoadError   string // why it could not be loaded, or ""
	ActiveState string
	SubState    string
	Result      string // why it failed, such as "exit-code", or ""

	// MainCode and MainStatus say how the main process of a service ended in its last run,
	// as ExecMainCode and ExecMainStatus of org.freedesktop.systemd1(5): MainCode is a
	// CLD_ constant of sigaction(2). It is 0 while the process runs, or if systemd has
	// recorded no end.
	MainCode, MainStatus int32
}

// StateOf returns the state that the properties of a unit have.
func StateOf(p map[string]any) UnitState {
	s := properties(p).state()
	s.Result = properties(p).text("Result")
	s.MainCode, _ = p["ExecMainCode"].(int32)
	s.MainStatus, _ = p["ExecMainStatus"].(int32)
	return s
}

// JobOf returns the ID of the job that a unit has according to its properties, or 0.
func JobOf(p map[string]any) uint32 { return properties(p).job() }

// Values of MainCode, sigaction(2).
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// End returns how the main process of a service ended: with an exit status, which is -1 if
// there is none, or by a signal, whose name is without SIG.
func (s UnitState) End() (exitCode int, signal string, coreDumped bool) {
	switch s.MainCode {
	case cldExited:
		return int(s.MainStatus), "", false
	case cldKilled, cldDumped:
		name := cmp.Or(unix.SignalName(syscall.Signal(s.MainStatus)), strconv.Itoa(int(s.MainStatus)))
		return -1, strings.TrimPrefix(name, "SIG"), s.MainCode == cldDumped
	}
	return -1, "", false
}

// properties are those of a unit's interface org.freedesktop.systemd1.Unit.
type properties map[string]any

// unit reads the properties of a unit. systemd loads it if it is not loaded.
func (c *connection) unit(ctx context.Context, name string) (properties, error) {
	p, _, err := c.unitAt(ctx, name)
	return p, err
}

// unitAt is unit that also returns the place of the answer among the signals.
func (c *connection) unitAt(ctx context.Context, name string) (properties, godbus.Sequence, error) {
	return c.getAll(ctx, name, unitInterface)
}

// getAll reads the properties of an interface of a unit; "" are all.
func (c *connection) getAll(ctx context.Context, name, of string) (properties, godbus.Sequence, error) {
	object := c.raw.Object(managerName, objectPath(name))
	call := object.CallWithContext(ctx, "org.freedesktop.DBus.Properties.GetAll", 0, of)
	var values map[string]godbus.Variant
	err := call.Store(&values)
	if err != nil && err == ctx.Err() {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read properties of %s: %w", name, c.ended(err))
	}
	return plainValues(values), call.ResponseSequence, nil
}

func plainValues(values map[string]godbus.Variant) properties {
	p := make(properties, len(values))
	for name, value := range values {
		p[name] = value.Value()
	}
	return p
}

// allProperties reads the properties of all interfaces of a unit.
func (c *connection) allProperties(ctx context.Context, unit string) (properties, error) {
	p, _, err := c.getAll(ctx, unit, "")
	return p, err
}

// addEnd adds to s how the unit's last run ended. It adds nothing if the unit has left
// the state s: one that was started again has the end of its new run.
func (c *connection) addEnd(ctx context.Context, name string, s *UnitState) {
	p, err := c.allProperties(ctx, name)
	if err != nil || p.text("ActiveState") != s.ActiveState || p.text("SubState") != s.SubState {
		return
	}
	if s.ActiveState == "failed" {
		s.Result = p.text("Result")
	}
	s.MainCode, _ = p["ExecMainCode"].(int32)
	s.MainStatus, _ = p["ExecMainStatus"].(int32)
}

func (p properties) state() UnitState {
	return UnitState{
		ID:          p.text("Id"),
		LoadState:   p.text("LoadState"),
		LoadError:   p.loadError(),
		ActiveState: p.text("ActiveState"),
		SubState:    p.text("SubState"),
	}
}

func (p properties) text(name string) string {
	s, _ := p[name].(string)
	return s
}

func (p properties) list(name string) []string {
	l, _ := p[name].([]string)
	return l
}

// loadError returns the text of LoadError, which has a D-Bus error's name and text.
func (p properties) loadError() string {
	if e, _ := p["LoadError"].([]any); len(e) == 2 {
		s, _ := e[1].(string)
		return s
	}
	return ""
}

// job returns the ID of the unit's job, or 0.
func (p properties) job() uint32 {
	if j, _ := p["Job"].([]any); len(j) == 2 {
		id, _ := j[0].(uint32)
		return id
	}
	return 0
}

// down reports whether the unit is inactive or failed.
func (p properties) down() bool {
	return p["ActiveState"] == "inactive" || p["ActiveState"] == "failed"
}

// unmet returns the conditions and the assertions that were false at the unit's last
// start, as its unit file has them. systemd checks them at each start of a unit that is
// not active.
func (p properties) unmet() []string {
	return append(p.checks("Condition"), p.checks("Assert")...)
}

// checks returns those of the unit's conditions, or assertions, that were false. It
// returns nil if the last check was passed, or there has been none.
func (p properties) checks(kind string) []string {
	if at, _ := p[kind+"Timestamp"].(uint64); at == 0 || p[kind+"Result"] != false {
		return nil
	}
	all, _ := p[kind+"s"].([][]any) // name, trigger, negate, parameter, result
	var failed []string
	for _, check := range all {
		if len(check) != 5 {
			continue
		}
		if result, _ := check[4].(int32); result >= 0 { // passed, or not tried
			continue
		}
		failed = append(failed, checkText(check))
	}
	if failed == nil { // it failed as a whole
		return []string{kind + "Result=no"}
	}
	return failed
}

// checkText returns a condition or an assertion as a line of a unit file,
// systemd.unit(5).
func checkText(check []any) string {
	var b strings.Builder
	fmt.Fprint(&b, check[0], "=")
	if check[1] == true {
		b.WriteString("|")
	}
	if check[2] == true {
		b.WriteString("!")
	}
	fmt.Fprint(&b, check[3])
	return b.String()
}

// objectPath returns the path of a unit's object.
func objectPath(unit string) godbus.ObjectPath {
	return unitPath + godbus.ObjectPath(dbus.PathBusEscape(unit))
}
