package vmtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"

	"example.org/systemd-vmtest/vmtest/internal/gobuild"
	"example.org/systemd-vmtest/vmtest/internal/inputs"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// Getenv returns the value of a variable of the host's environment, as os.Getenv. In the
// Prepare of a [Template] it makes the variable part of the record.
func (m *Machine) Getenv(name string) string { return m.inputs.Env(name) }

// kept is a prepared machine in the cache.
type kept struct{ vm *vm.Kept }

func (k kept) fork(ctx context.Context, config Config) (*Machine, error) {
	m, err := k.vm.Fork(ctx, config.instance())
	if err != nil {
		return nil, public(err)
	}
	return &Machine{vm: m, config: config}, nil
}

// open opens the prepared machine in the cache, and prepares it if there is none or if
// something has changed. The caller holds a slot.
func (p *Template) open(ctx context.Context, config Config, change changer) (forker, error) {
	made, err := p.describe()
	if err != nil {
		return nil, err
	}
	key, err := templateKey(made, config)
	if err != nil {
		return nil, err
	}
	if err := p.claim(key); err != nil {
		return nil, err
	}
	spec, err := config.spec(ctx)
	if err != nil {
		return nil, err
	}
	given, err := spec.Inputs()
	if err != nil {
		return nil, err
	}
	binary, err := testBinary()
	if err != nil {
		return nil, err
	}
	given = append([]inputs.Input{{Kind: inputs.Given, Name: "the test binary", Digest: binary}}, given...)
	k, err := vm.OpenPrepared(ctx, spec, vm.Preparation{
		Key:      key,
		Template: made,
		Prepare: func(ctx context.Context) (*vm.Machine, []inputs.Input, error) {
			var record inputs.Record
			for _, in := range given {
				record.Add(in)
			}
			m, err := change.launchFrom(ctx, config, &record, p.Inputs)
			if err != nil {
				return nil, nil, err
			}
			return m.vm, record.All(), nil
		},
		Changed: func(ctx context.Context, list []inputs.Input) string {
			return config.sight(ctx, spec.Files.Image.Arch, given).Changed(list)
		},
	})
	if err != nil {
		return nil, public(err)
	}
	return kept{k}, nil
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

// sight finds out what inputs are like now.
func (c Config) sight(ctx context.Context, arch string, given []inputs.Input) inputs.Sight {
	s := inputs.Sight{Given: make(map[string]string)}
	for _, in := range given {
		s.Given[in.Name] = in.Digest
	}
	s.Program = func(pkg, dir string) (string, error) {
		if wd, err := os.Getwd(); err != nil || wd != dir {
			return "", fmt.Errorf("build %s: not in %s", pkg, dir)
		}
		program, err := gobuild.Program(ctx, pkg, arch, c.notice)
		return inputs.Digest(program), err
	}
	return s
}

// describe describes the template without its inputs.
func (p *Template) describe() (snapshots.Template, error) {
	wd, err := os.Getwd()
	if err != nil {
		return snapshots.Template{}, fmt.Errorf("prepare template: %w", err)
	}
	pkg := filepath.Base(os.Args[0])
	if info, ok := debug.ReadBuildInfo(); ok && info.Path != "" {
		pkg = info.Path
	}
	return snapshots.Template{Name: p.Name, Package: strings.TrimSuffix(pkg, ".test"), Dir: wd}, nil
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
	data, err := json.Marshal(map[string]any{
		"name": t.Name, "package": t.Package, "dir": t.Dir, "settings": settings,
		"image": c.Image, "hostname": c.Hostname, "memory": c.Memory, "cpus": c.CPUs,
		"args": c.KernelArgs, "cold": c.ColdBoot, "untrimmed": c.Untrimmed,
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
