package systemd

import (
	"maps"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"
)

// fakeSystemd answers D-Bus as PID 1 does on its private socket, as far as these tests
// need it: units with properties, jobs, and signals to all connections.
type fakeSystemd struct {
	mu       sync.Mutex
	units    map[string]map[string]any // properties by name, also of units that are not loaded
	loaded   map[string]bool
	aliases  map[string]string
	jobs     []dbus.JobStatus
	after    map[uint32][]dbus.JobStatus
	calls    map[string]int // how often each method was called
	state    string         // SystemState
	version  string
	conns    []*fakeConn
	dialed   int
	refusing error // the error of a dial

	// on answers a method itself, when it is there. It runs without the lock.
	on map[string]func(args []any) ([]any, error)
}

func newFake(t *testing.T) (*fakeSystemd, *Manager) {
	f := &fakeSystemd{
		units: make(map[string]map[string]any), loaded: make(map[string]bool), aliases: make(map[string]string),
		after: make(map[uint32][]dbus.JobStatus), calls: make(map[string]int), state: "running",
		version: "257.9-1",
		on:      make(map[string]func([]any) ([]any, error)),
	}
	m := NewManager(f.dial)
	t.Cleanup(func() {
		m.Close(net.ErrClosed)
		f.hangUp()
	})
	return f, m
}

// unit puts a unit there, with a unit file unless props say otherwise, and loads it.
func (f *fakeSystemd) unit(name, active, sub string, props map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := map[string]any{
		"Id": name, "LoadState": "loaded", "LoadError": fakeError{}, "ActiveState": active, "SubState": sub,
		"Job": fakeJob{0, "/"}, "TriggeredBy": []string{}, "UpheldBy": []string{},
		"OnFailureOf": []string{}, "OnSuccessOf": []string{}, "Result": "success",
	}
	maps.Copy(p, props)
	f.units[name], f.loaded[name] = p, true
}

// fakeJob is the value of the property Job.
type fakeJob struct {
	ID   uint32
	Path godbus.ObjectPath
}

// fakeError is the value of the property LoadError.
type fakeError struct{ Name, Text string }

// fakeCheck is an element of the property Conditions or Asserts.
type fakeCheck struct {
	Name            string
	Trigger, Negate bool
	Param           string
	Result          int32
}

// set changes properties of a unit and announces that.
func (f *fakeSystemd) set(name string, props map[string]any) {
	f.mu.Lock()
	maps.Copy(f.units[name], props)
	f.mu.Unlock()
	f.changed(name, props)
}

func (f *fakeSystemd) changed(name string, props map[string]any) {
	values := make(map[string]godbus.Variant)
	for k, v := range props {
		values[k] = godbus.MakeVariant(v)
	}
	const of, member = "org.freedesktop.DBus.Properties", "PropertiesChanged"
	f.emit(objectPath(name), of, member, typeInterface(name), map[string]godbus.Variant{}, []string{})
	f.emit(objectPath(name), of, member, unitInterface, values, []string{})
}

// managerSignal announces something in the name of the manager.
func (f *fakeSystemd) managerSignal(member string, args ...any) {
	f.emit(managerPath, managerInterface, member, args...)
}

func (f *fakeSystemd) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

// hangUp ends all connections.
func (f *fakeSystemd) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.stream.Close()
	}
	f.conns = nil
}

// method answers a method of systemd. after is to be called once the answer is sent.
func (f *fakeSystemd) method(object godbus.ObjectPath, member string, args []any) (body []any, after func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	after = func() {}
	switch member {
	case "Get":
		if args[1] == "SystemState" {
			return []any{godbus.MakeVariant(f.state)}, after, nil
		}
		if object == managerPath && args[1] == "Version" {
			return []any{godbus.MakeVariant(f.version)}, after, nil
		}
		_, p := f.find(object)
		value, ok := p[args[1].(string)]
		if !ok || ofType(args[1].(string)) == (args[0] == unitInterface) {
			return nil, after, *godbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", []any{"Unknown property or interface."})
		}
		return []any{godbus.MakeVariant(value)}, after, nil
	case "GetAll":
		id, p := f.find(object)
		values := make(map[string]godbus.Variant)
		for k, v := range p {
			if ofType(k) && args[0] != "" {
				continue
			}
			values[k] = godbus.MakeVariant(v)
		}
		if !f.loaded[id] { // loaded for the answer, and unloaded again
			after = func() {
				f.managerSignal("UnitNew", id, objectPath(id))
				f.managerSignal("UnitRemoved", id, objectPath(id))
			}
		}
		return []any{values}, after, nil
	case "GetUnit":
		name := args[0].(string)
		if !f.loaded[name] {
			return nil, after, *godbus.NewError(managerName+".NoSuchUnit", []any{"Unit " + name + " not loaded."})
		}
		return []any{objectPath(name)}, after, nil
	case "ListJobs":
		return []any{append([]dbus.JobStatus{}, f.jobs...)}, after, nil
	case "GetJobBefore":
		return []any{append([]dbus.JobStatus{}, f.after[args[0].(uint32)]...)}, after, nil
	case "ListUnitsFiltered":
		var found []dbus.UnitStatus
		for _, name := range slices.Sorted(maps.Keys(f.units)) {
			active := f.units[name]["ActiveState"].(string)
			if f.loaded[name] && slices.Contains(args[0].([]string), active) {
				found = append(found, f.status(name))
			}
		}
		return []any{found}, after, nil
	case "ListUnitsByPatterns":
		var found []dbus.UnitStatus
		for _, name := range slices.Sorted(maps.Keys(f.units)) {
			states := args[0].([]string) // none are all
			inState := len(states) == 0 || slices.Contains(states, f.units[name]["ActiveState"].(string))
			if ok, _ := path.Match(args[1].([]string)[0], name); ok && inState && f.loaded[name] {
				found = append(found, f.status(name))
			}
		}
		return []any{found}, after, nil
	}
	return nil, after, nil
}

// ofType reports whether a property is one of the interface of a unit's type.
func ofType(property string) bool {
	return strings.HasPrefix(property, "ExecMain") || slices.Contains(
		[]string{"Result", "Listen", "MainPID", "MemoryCurrent", "NAccepted", "NConnections", "NRefused", "NRestarts", "NextElapseUSecRealtime"}, property)
}

// status returns a unit as a list of units has it.
func (f *fakeSystemd) status(name string) dbus.UnitStatus {
	p := properties(f.units[name])
	return dbus.UnitStatus{
		Name: name, Description: p.text("Description"), LoadState: p.text("LoadState"),
		ActiveState: p.text("ActiveState"), SubState: p.text("SubState"), Path: objectPath(name),
		JobId: f.units[name]["Job"].(fakeJob).ID, JobPath: "/",
	}
}

// find returns the unit of an object's path, and one without a file if there is none.
func (f *fakeSystemd) find(path godbus.ObjectPath) (id string, p map[string]any) {
	for name, p := range f.units {
		if objectPath(name) == path {
			return name, p
		}
	}
	for alias, name := range f.aliases {
		if objectPath(alias) == path {
			return name, f.units[name]
		}
	}
	name := unescape(path)
	return name, map[string]any{
		"Id": name, "LoadState": "not-found", "LoadError": fakeError{managerName + ".NoSuchUnit", "Unit " + name + " not found."},
		"ActiveState": "inactive", "SubState": "dead", "Job": fakeJob{0, "/"}, "OnFailureOf": []string{},
	}
}

// unescape is the inverse of objectPath.
func unescape(path godbus.ObjectPath) string {
	var b strings.Builder
	s := strings.TrimPrefix(string(path), unitPath)
	for i := 0; i < len(s); i++ {
		if s[i] == '_' && i+2 < len(s) {
			var c [1]byte
			const digits = "0123456789abcdef"
			c[0] = byte(strings.IndexByte(digits, s[i+1])<<4 | strings.IndexByte(digits, s[i+2]))
			b.Write(c[:])
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func requirePrintable(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		require.False(t, unicode.IsControl(r) && r != '\n' && r != '\t', "%q in %q", r, text)
	}
}
