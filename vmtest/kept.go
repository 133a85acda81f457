package vmtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"

	"example.org/systemd-vmtest/vmtest/internal/inputs"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// Getenv returns the value of a variable of the host's environment, as os.Getenv. In the
// Prepare of a [Template] it makes the variable part of the record.
func (m *Machine) Getenv(name string) string { return m.inputs.Env(name) }

// kept is a prepared machine in the cache.
type kept struct {
	vm    *vm.Kept
	key   string
	made  snapshots.Template // without its inputs
	given []inputs.Input     // what the framework itself depends on
	paths []string           // Template.Inputs
}

// open opens the prepared machine in the cache, and prepares it if there is none or if
// something has changed. The caller holds a slot.
func (p *Template) open(ctx context.Context, config Config, change changer) (forker, error) {
	k := &kept{paths: p.Inputs}
	var err error
	if k.made, err = p.describe(); err != nil {
		return nil, err
	}
	if k.key, err = templateKey(k.made, config); err != nil {
		return nil, err
	}
	if err := p.claim(k.key); err != nil {
		return nil, err
	}
	ahead := config.lookAhead(ctx, k.key)
	defer ahead.wait()
	spec, err := config.spec(ctx)
	if err != nil {
		return nil, err
	}
	if k.given, err = spec.Inputs(); err != nil {
		return nil, err
	}
	binary, err := testBinary()
	if err != nil {
		return nil, err
	}
	k.given = append([]inputs.Input{{Kind: inputs.Given, Name: "the test binary", Digest: binary}}, k.given...)
	if k.vm, err = vm.OpenPrepared(ctx, spec, k.preparation(config, change, ahead)); err != nil {
		return nil, public(err)
	}
	return k, nil
}

func (k *kept) fork(ctx context.Context, config Config, change changer) (*Machine, error) {
	spec, err := config.spec(ctx)
	if err != nil {
		return nil, err
	}
	m, made, err := k.vm.Fork(ctx, spec, k.preparation(config, change, &programs{config: config}))
	if err != nil {
		return nil, public(err)
	}
	fork := newMachine(m, config)
	fork.announced.setTested(made.Tested)
	return fork.resumed(ctx)
}

// preparation describes to package vm how change makes the machine.
func (k *kept) preparation(config Config, change changer, b *programs) vm.Preparation {
	return vm.Preparation{
		Key:      k.key,
		Template: k.made,
		Prepare: func(ctx context.Context, made *snapshots.Template) (*vm.Machine, error) {
			var record inputs.Record
			for _, in := range k.given {
				record.Add(in)
			}
			m, err := change.launchFrom(ctx, config, &record, k.paths)
			if err != nil {
				return nil, err
			}
			if err := m.collectCoverage(ctx); err != nil {
				return nil, errors.Join(err, m.Close())
			}
			made.Inputs, made.Tested = record.All(), m.announced.allTested()
			return m.vm, nil
		},
		Changed: func(ctx context.Context, list []inputs.Input) string {
			return b.sight(ctx, k.given).Changed(list)
		},
	}
}

// launchFrom is launch, during which the paths should not change.
func (c changer) launchFrom(ctx context.Context, config Config, record *inputs.Record, paths []string) (m *Machine, err error) {
	if len(paths) == 0 {
		return c.launch(ctx, config, record)
	}
	if _, err := os.Stat(paths[0]); err != nil {
		return nil, fmt.Errorf("prepare template: read Inputs: %w", err)
	}
	err = record.Path(paths[0], func() error {
		m, err = c.launchFrom(ctx, config, record, paths[1:])
		return err
	})
	return m, err
}

// describe describes the template without its inputs.
func (p *Template) describe() (snapshots.Template, error) {
	wd, err := os.Getwd()
	if err != nil {
		return snapshots.Template{}, fmt.Errorf("prepare template: %w", err)
	}
	return snapshots.Template{Name: p.Name, Package: packageOfTest(), Dir: wd}, nil
}

// templateKey returns the key of a template. A content that changes does not change it, so
// a new machine takes the place of the old one. Test binaries with other build settings
// such as -race have keys of their own, so that two do not replace each other's machine.
func templateKey(t snapshots.Template, c Config) (string, error) {
	var settings []string
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if !strings.HasPrefix(s.Key, "vcs") {
				settings = append(settings, s.Key+"="+s.Value)
			}
		}
	}
	if coverDir() != "" {
		settings = append(settings, "-cover in the guest")
	}
	c.Disk, c.Console, c.Progress, c.BootTimeout, c.OpTimeout = nil, nil, nil, 0, 0 // not in the machine
	c.Networks, c.network = nil, ""
	c.Debs = nil // paths; the image is an input
	recipe := c.Recipe
	c.Recipe = nil // a pointer says nothing
	data, err := json.Marshal(map[string]any{
		"format": snapshots.Format, "name": t.Name, "package": t.Package, "dir": t.Dir, "settings": settings,
		"config": fmt.Sprintf("%#v", c), "recipe": recipe,
	})
	if err != nil {
		return "", fmt.Errorf("make template key: %w", err)
	}
	return inputs.Digest(data), nil
}

// claimed has the code of Setup or Prepare of each template of this process, by key.
var claimed sync.Map

// claim returns an error if another template with other code has the key.
func (p *Template) claim(key string) error {
	code := reflect.ValueOf(p.Prepare).Pointer()
	if p.Setup != nil {
		code = reflect.ValueOf(p.Setup).Pointer()
	}
	if other, _ := claimed.LoadOrStore(key, code); other != code {
		return fmt.Errorf("prepare template: two templates have the name %q: give each its own", p.Name)
	}
	return nil
}

// testBinary returns the digest of the program that runs.
var testBinary = sync.OnceValues(func() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("read the test binary: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the test binary: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
})
