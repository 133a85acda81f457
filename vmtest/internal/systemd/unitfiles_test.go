package systemd

import (
	"testing"
	"testing/synctest"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answers makes the fake answer a method with values, and keeps the arguments.
func (f *fakeSystemd) answers(method string, body ...any) *[]any {
	asked := new([]any)
	f.on[method] = func(args []any) ([]any, error) {
		*asked = args
		return body, nil
	}
	return asked
}

var (
	oneLink = []FileChange{{"symlink", "/etc/systemd/system/x.wants/a.service", "/etc/systemd/system/a.service"}}
	noLink  = []FileChange{}
)

// Each verb is one call of systemd with the names that it takes, and is followed by a
// reload because something changed.
func TestUnitFileVerbs(t *testing.T) {
	paths, names := []string{"/run/a.service", "b.socket"}, []string{"a.service", "b.socket"}
	for verb, test := range map[FileVerb]struct {
		method string
		args   []any
		answer []any
	}{
		Enable:  {"EnableUnitFiles", []any{paths, true, false}, []any{true, oneLink}},
		Disable: {"DisableUnitFiles", []any{names, true}, []any{oneLink}},
		Mask:    {"MaskUnitFiles", []any{names, true, false}, []any{oneLink}},
		Unmask:  {"UnmaskUnitFiles", []any{names, true}, []any{oneLink}},
	} {
		t.Run(string(verb), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				asked := f.answers(test.method, test.answer...)
				changes, err := m.ChangeFiles(t.Context(), verb, paths, true)
				require.NoError(t, err)
				assert.Equal(t, oneLink, changes)
				assert.Equal(t, test.args, *asked)
				assert.Equal(t, 1, f.count("Reload"), "calls of Reload after %s", test.method)
			})
		})
	}
}

// Reload returns when systemd has read unit files, which is when it answers.
func TestReload(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		read := make(chan struct{})
		f.on["Reload"] = func([]any) ([]any, error) {
			<-read
			return nil, nil
		}
		done := make(chan error, 1)
		go func() { done <- m.Reload(t.Context()) }()
		synctest.Wait()
		assert.Equal(t, 1, f.count("Reload"), "calls of Reload after Reload")
		assert.Empty(t, done, "it did not wait until unit files are read")
		close(read)
		assert.NoError(t, <-done)
		f.on["Reload"] = func([]any) ([]any, error) {
			return nil, *godbus.NewError("org.freedesktop.DBus.Error.AccessDenied", []any{"Refusing."})
		}
		assert.EqualError(t, m.Reload(t.Context()), "read unit files again: Refusing.")
	})
}

// Without a change, unit files are read again only if systemd says that it needs that, or
// may overlook that it does.
func TestUnitFilesAreReadAgainIfNeeded(t *testing.T) {
	for name, test := range map[string]struct {
		version string
		need    any
		unit    string
		reloads int
	}{
		"in step":       {"257.9-1", false, "a.service", 0},
		"changed":       {"257.9-1", true, "a.service", 1},
		"an older one":  {"252.39-1~deb12u1", false, "a.service", 1},
		"with a v":      {"v260", false, "a.service", 0},
		"of a template": {"262.1", true, "a@.service", 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				f.version = test.version
				f.unit(test.unit, "active", "running", props{"NeedDaemonReload": test.need})
				f.answers("EnableUnitFiles", true, noLink)
				changes, err := m.ChangeFiles(t.Context(), Enable, []string{test.unit}, false)
				require.NoError(t, err)
				assert.Empty(t, changes)
				assert.Equal(t, test.reloads, f.count("Reload"), "calls of Reload, with unit files that are %s", name)
			})
		})
	}
}

func TestUnitFilesThatSystemdRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.on["EnableUnitFiles"] = func([]any) ([]any, error) {
			return nil, *godbus.NewError(managerName+".NoSuchUnit", []any{"Unit file a.service does not exist."})
		}
		_, err := m.ChangeFiles(t.Context(), Enable, []string{"a.service"}, false)
		assert.EqualError(t, err, "Unit file a.service does not exist.")
		assert.ErrorIs(t, err, ErrNoUnit)
		assert.True(t, IsRefusal(err))
		f.on["DisableUnitFiles"] = func([]any) ([]any, error) {
			return nil, *godbus.NewError(managerName+".UnitMasked", []any{"Unit file a.service is masked."})
		}
		_, err = m.ChangeFiles(t.Context(), Disable, []string{"a.service"}, false)
		assert.EqualError(t, err, "Unit file a.service is masked.")
		assert.NotErrorIs(t, err, ErrNoUnit)
		assert.Zero(t, f.count("Reload"))
	})
}

// systemctl reads unit files again also when none has an [Install] section.
func TestEnableOfUnitsWithoutInstall(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "active", "running", props{"NeedDaemonReload": true})
		f.answers("EnableUnitFiles", false, noLink)
		_, err := m.ChangeFiles(t.Context(), Enable, []string{"a.service"}, false)
		assert.ErrorIs(t, err, ErrNoInstall)
		assert.False(t, IsRefusal(err))
		assert.Equal(t, 1, f.count("Reload"))
	})
}

// A connection that ends under a reload is made again, and unit files are read again. One
// that ends before the answer to a change leaves it unknown what changed.
func TestUnitFilesOutliveTheirConnection(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.answers("EnableUnitFiles", true, oneLink)
		f.on["Reload"] = func([]any) ([]any, error) {
			if f.count("Reload") == 1 {
				f.hangUp()
			}
			return nil, nil
		}
		changes, err := m.ChangeFiles(t.Context(), Enable, []string{"a.service"}, false)
		require.NoError(t, err)
		assert.Equal(t, oneLink, changes)
		assert.Equal(t, [2]int{1, 2}, [2]int{f.count("EnableUnitFiles"), f.count("Reload")})

		f.on["EnableUnitFiles"] = func([]any) ([]any, error) {
			f.hangUp()
			return nil, nil
		}
		_, err = m.ChangeFiles(t.Context(), Enable, []string{"a.service"}, false)
		assert.ErrorIs(t, err, errUnanswered)
		assert.Equal(t, 2, f.count("EnableUnitFiles"))
	})
}
