package systemd

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeUnit prints properties as systemctl show does: in an order of its own, a line for
// each structure of a list, and without quotes.
type fakeUnit struct {
	order  []string
	values map[string]any // string, or [][]any of one string each
	asked  []string       // of systemctl, names joined
	typed  int            // calls of D-Bus
}

func (u *fakeUnit) shower() Shower {
	return Shower{Run: u.systemctl, Properties: func(context.Context, string) (map[string]any, error) {
		u.typed++
		return u.values, nil
	}}
}

func (u *fakeUnit) systemctl(_ context.Context, args []string, w io.Writer) error {
	names, ok := strings.CutPrefix(args[2], "--property=")
	if !ok || args[3] != "--" || args[4] != "demo.service" {
		return errors.New("unexpected " + strings.Join(args, " "))
	}
	u.asked = append(u.asked, names)
	for _, name := range u.order {
		if !slices.Contains(strings.Split(names, ","), name) {
			continue
		}
		switch v := u.values[name].(type) {
		case string:
			io.WriteString(w, name+"="+v+"\n")
		case [][]any:
			for _, element := range v {
				io.WriteString(w, name+"="+element[0].(string)+"\n")
			}
		}
	}
	return nil
}

func list(values ...string) [][]any {
	var l [][]any
	for _, v := range values {
		l = append(l, []any{v})
	}
	return l
}

// unit returns a fakeUnit with the properties in the order of their names.
func unit(values map[string]any) *fakeUnit {
	return &fakeUnit{order: slices.Sorted(maps.Keys(values)), values: values}
}

func TestShow(t *testing.T) {
	for name, test := range map[string]struct {
		values map[string]any
		want   map[string]string
	}{
		"plain": {
			map[string]any{"ActiveState": "active", "Environment": "A=b=c", "Empty": ""},
			map[string]string{"ActiveState": "active", "Environment": "A=b=c", "Empty": ""},
		},
		"list": {
			map[string]any{"Listen": list("127.0.0.1:9091 (Stream)", "[::1]:9091 (Stream)"), "ActiveState": "active", "Paths": list()},
			map[string]string{"Listen": "127.0.0.1:9091 (Stream)\n[::1]:9091 (Stream)", "ActiveState": "active"},
		},
		"several lines": {
			map[string]any{"ExecStart": list("{ argv[]=/bin/sh -c x=1\n\nfoo=2 ; pid=0 }"), "SubState": "running"},
			map[string]string{"ExecStart": "{ argv[]=/bin/sh -c x=1\n\nfoo=2 ; pid=0 }", "SubState": "running"},
		},
		"a line like another property": {
			map[string]any{"ExecStart": list("{ argv[]=/bin/sh -c x\nSubState=dead ; pid=0 }"), "SubState": "running"},
			map[string]string{"ExecStart": "{ argv[]=/bin/sh -c x\nSubState=dead ; pid=0 }", "SubState": "running"},
		},
		"right before the property": {
			map[string]any{"ExecStart": list("{ x\nSubState=dead"), "SubState": "running"},
			map[string]string{"ExecStart": "{ x\nSubState=dead", "SubState": "running"},
		},
		"like an empty list": {
			map[string]any{"ExecStart": list("{ argv[]=/bin/sh -c x\nExecStop=no ; pid=0 }"), "ExecStop": list()},
			map[string]string{"ExecStart": "{ argv[]=/bin/sh -c x\nExecStop=no ; pid=0 }"},
		},
		"like an empty list, in one line": {
			map[string]any{"Description": "x\nListen=y", "Listen": list()},
			map[string]string{"Description": "x\nListen=y"},
		},
		"like an empty list, and empty": {
			map[string]any{"Description": "x\nListen=", "Listen": list()},
			map[string]string{"Description": "x\nListen="},
		},
		"like an empty text": {
			map[string]any{"Description": "x\nStatusText=ok", "StatusText": ""},
			map[string]string{"Description": "x\nStatusText=ok", "StatusText": ""},
		},
		"like itself": {
			map[string]any{"Description": "x\nDescription=y", "SubState": "running"},
			map[string]string{"Description": "x\nDescription=y", "SubState": "running"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, names := range [][]string{nil, slices.Sorted(maps.Keys(test.values))} {
				u := unit(test.values)
				values, err := u.shower().Show(t.Context(), "demo.service", names...)
				require.NoError(t, err)
				assert.Equal(t, test.want, values, "asked for %v", names)
			}
		})
	}
}

// A program in the guest costs more than all else, so systemctl is asked once, for what
// D-Bus does not say in the same words.
func TestShowAsksSystemctlForTheRest(t *testing.T) {
	u := unit(map[string]any{"ActiveState": "active", "Listen": list("a", "b"), "SubState": "running", "Accept": true, "NAccepted": uint32(3)})
	_, err := u.shower().Show(t.Context(), "demo.service", "ActiveState", "SubState", "Accept", "NAccepted")
	require.NoError(t, err)
	assert.Empty(t, u.asked)
	_, err = u.shower().Show(t.Context(), "demo.service", "Listen", "SubState")
	require.NoError(t, err)
	assert.Equal(t, []string{"Listen"}, u.asked)
}

func TestPrinted(t *testing.T) {
	for _, test := range []struct {
		name  string
		value any
		want  string
		ok    bool
	}{
		{"SubState", "running", "running", true},
		{"StatusText", "a\nb", "a\nb", false},
		{"Accept", true, "yes", true},
		{"Accept", false, "no", true},
		{"ExecMainStatus", int32(3), "3", true},
		{"FailureActionExitStatus", int32(-1), "-1", false},
		{"TasksMax", uint32(math.MaxUint32), "4294967295", false},
		{"NAccepted", uint32(3), "3", true},
		{"UMask", uint32(0o22), "18", false},
		{"SocketMode", uint32(0o666), "438", false},
		{"TimeoutStopUSec", uint64(90e6), "", false},
		{"TriggeredBy", []string{"a.socket", "b.timer"}, "a.socket b.timer", true},
		{"TriggeredBy", []string{}, "", false},
		{"After", []string{`a\x2db.mount`}, `a\x2db.mount`, false},
		{"Documentation", []string{"man:sh(1)"}, "man:sh(1)", false},
	} {
		text, ok := printed(test.name, test.value)
		assert.Equal(t, test.ok, ok, "%s %v", test.name, test.value)
		assert.Equal(t, test.want, text, "%s %v", test.name, test.value)
	}
}

func TestShowThatMakesNoSense(t *testing.T) {
	u := unit(map[string]any{"ActiveState": "active", "ExecStart": list("a\nExecStart=b", "c")})
	for want, ask := range map[string][]string{
		`show demo: unit name "demo" has no type such as .service (systemd.unit(5))`:                {"demo"},
		`show demo*.service: unit name "demo*.service" is a pattern`:                                {"demo*.service"},
		`show demo.service: it has no property "Substate"`:                                          {"demo.service", "ActiveState", "Substate"},
		`show demo.service: "A,B" is not the name of a property`:                                    {"demo.service", "A,B"},
		`show demo.service: the value of ExecStart has a line that looks like the next of its list`: {"demo.service", "ExecStart"},
	} {
		_, err := u.shower().Show(t.Context(), ask[0], ask[1:]...)
		assert.EqualError(t, err, want)
	}
}

// Whatever the values are, Show returns them or an error, and never another's.
func FuzzShow(f *testing.F) {
	f.Add("x\nB=1", "", "\nC=2\n", uint8(2))
	f.Add("{ A\nA=1 }", "B=2", "C", uint8(1))
	f.Add("\nC=", "\nA=\nB=", "", uint8(0))
	f.Fuzz(func(t *testing.T, a, b, c string, n uint8) {
		values := map[string]any{"A": a, "B": b, "C": list(slices.Repeat([]string{c}, int(n%3))...)}
		want := map[string]string{"A": a, "B": b, "C": strings.Join(slices.Repeat([]string{c}, int(n%3)), "\n")}
		got, err := unit(values).shower().Show(t.Context(), "demo.service", "A", "B", "C")
		if err == nil && n%3 == 0 {
			require.NotContains(t, got, "C")
			got["C"] = ""
		}
		if err == nil {
			require.Equal(t, want, got)
		}
	})
}
