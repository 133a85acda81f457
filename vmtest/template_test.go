package vmtest

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/inputs"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// Each call that brings something of the host into the machine is in the record, and a
// change of that is found.
func TestTemplateRecord(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	write("units/a.service", "[Unit]\n")
	write("copied", "one")
	write("go.mod", "module example.org/daemon\n\ngo 1.26\n")
	write("main.go", "package main\n\nfunc main() {}\n")
	t.Chdir(dir)
	t.Setenv("VMTEST_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("VMTEST_GO_PREBUILT", "")
	t.Setenv("VMTEST_TEMPLATE_TEST", "one")

	m := machineHere(t)
	m.inputs = new(inputs.Record)
	ctx := t.Context()
	require.NoError(t, m.Copy(ctx, "copied", filepath.Join(dir, "copy")))
	require.NoError(t, m.CopyFS(ctx, os.DirFS("units"), filepath.Join(dir, "copies")))
	require.NoError(t, m.InstallGo(ctx, ".", filepath.Join(dir, "daemon")))
	assert.Equal(t, "one", m.Getenv("VMTEST_TEMPLATE_TEST"))

	list := m.inputs.All()
	given := []inputs.Input{{Kind: inputs.Given, Name: "the test binary", Digest: "1"}}
	changed := func() string {
		return m.config.lookAhead(ctx, "none").sight(ctx, given).Changed(append(given, list...))
	}
	assert.Len(t, list, 4)
	assert.Empty(t, changed())
	write("copied", "two")
	assert.Equal(t, dir+"/copied has changed", changed())
	write("copied", "one")
	write("units/b.service", "")
	assert.Equal(t, dir+"/units has changed", changed())
	require.NoError(t, os.Remove("units/b.service"))
	write("main.go", "package main\n\nfunc main() { println() }\n")
	assert.Equal(t, "program . has changed", changed())
	write("main.go", "package main\n\nfunc main() {}\n")
	assert.Empty(t, changed())
	t.Setenv("VMTEST_TEMPLATE_TEST", "two")
	assert.Equal(t, "$VMTEST_TEMPLATE_TEST has changed", changed())
	t.Setenv("VMTEST_TEMPLATE_TEST", "one")
	t.Chdir("/") // where ./path is another program
	assert.Equal(t, "program . cannot be built now", changed())
}

// A template has one place in the cache for each kind of machine.
func TestTemplateKey(t *testing.T) {
	made := snapshots.Template{Name: "a", Package: "example.org/a", Dir: "/a"}
	config, err := Config{}.complete()
	require.NoError(t, err)
	key := func(made snapshots.Template, c Config) string {
		t.Helper()
		key, err := templateKey(made, c)
		require.NoError(t, err)
		return key
	}
	first := key(made, config)
	assert.Equal(t, first, key(made, config))
	seen := map[string]bool{first: true}
	fresh := func(key string) {
		t.Helper()
		assert.False(t, seen[key])
		seen[key] = true
	}
	for _, other := range []snapshots.Template{{Name: "b", Package: "example.org/a", Dir: "/a"},
		{Name: "a", Package: "example.org/b", Dir: "/a"}, {Name: "a", Package: "example.org/a", Dir: "/b"}} {
		fresh(key(other, config))
	}
	other := config
	other.Console, other.Progress, other.BootTimeout = t.Output(), func(images.Progress) {}, time.Second
	assert.Equal(t, first, key(made, other))
	for field, value := range reflect.ValueOf(&config).Elem().Fields() {
		switch field.Name {
		case "Debs", "Disk", "Networks", "network", "Console", "Progress", "BootTimeout", "OpTimeout":
			continue
		}
		before := reflect.ValueOf(value.Interface())
		switch value.Kind() {
		case reflect.String:
			value.SetString("other")
		case reflect.Int:
			value.SetInt(value.Int() + 1)
		case reflect.Bool:
			value.SetBool(!value.Bool())
		case reflect.Slice:
			value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		case reflect.Struct:
			value.Set(reflect.ValueOf(time.Unix(1, 0)))
		case reflect.Pointer:
			value.Set(reflect.New(value.Type().Elem()))
		default:
			t.Errorf("Config.%s has a kind that this test does not change", field.Name)
		}
		fresh(key(made, config))
		value.Set(before)
	}
}

func TestTemplatesOfOneName(t *testing.T) {
	prepare := func(context.Context, *Machine) error { return nil }
	a, again := Template{Name: "a", Prepare: prepare}, Template{Name: "a", Prepare: prepare}
	other := Template{Name: "a", Prepare: func(context.Context, *Machine) error { return os.ErrInvalid }}
	require.NoError(t, a.claim(t.Name()))
	require.NoError(t, again.claim(t.Name()))
	assert.EqualError(t, other.claim(t.Name()), `prepare template: two templates have the name "a": give each its own`)
	assert.NoError(t, other.claim(t.Name()+" with another key"))
}

// An input that does not exist is an error, because a misspelt path would never change.
func TestTemplateInputThatIsMissing(t *testing.T) {
	_, err := changer(nil).launchFrom(t.Context(), Config{}, new(inputs.Record), []string{"missing"})
	assert.EqualError(t, err, "prepare template: read Inputs: stat missing: no such file or directory")
}

func TestTemplateThatCannotBePrepared(t *testing.T) {
	setup := func(testing.TB, *Guest) {}
	prepare := func(context.Context, *Machine) error { return nil }
	for want, p := range map[string]*Template{
		"a snapshot holds no disk: start a machine with Config.Disk by Start or Launch": {Config: Config{Disk: new(Disk)}},
		"both Setup and Prepare are set: set one":                                       {Setup: setup, Prepare: prepare},
		"Launch has no test for Setup: set Prepare instead":                             {Setup: setup},
	} {
		_, err := p.Launch(t.Context())
		assert.EqualError(t, err, "prepare template: "+want)
	}
}
