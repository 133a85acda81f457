package vmtest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync"

	"example.org/systemd-vmtest/vmtest/internal/gobuild"
	"example.org/systemd-vmtest/vmtest/internal/inputs"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// recordGo builds a program and adds it to a record, which may be nil.
func recordGo(ctx context.Context, r *inputs.Record, pkg, arch string, notice func(string)) ([]byte, error) {
	build := gobuild.Program
	if coverDir() != "" {
		build = gobuild.Covered
	}
	if r == nil {
		return build(ctx, pkg, arch, notice)
	}
	wd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", pkg, err)
	}
	in := inputs.Input{Kind: inputs.Program, Name: pkg, Dir: wd, Arch: arch}
	before, err := gobuild.Stamp(ctx, pkg, arch, notice)
	program, fault := build(ctx, pkg, arch, notice)
	if err = cmp.Or(fault, err); err != nil { // that of the build has more detail
		return nil, err
	}
	in.Digest = before
	// If the sources changed meanwhile, it is not known which were built.
	if after, err := gobuild.Stamp(ctx, pkg, arch, notice); err != nil || after != before {
		in.Digest = ""
	}
	r.Add(in)
	return program, nil
}

// programs look at the programs in the record of a template. They do so while the image is
// opened and the agent is found, because both are mostly the go command's work.
type programs struct {
	config Config
	group  sync.WaitGroup

	mu    sync.Mutex
	ahead map[inputs.Input]func() (string, error) // taken out by the first who needs it
}

// lookAhead begins to look at the programs that the template with that key had. A record
// that cannot be read has none. The caller finds out why when it opens the snapshot.
func (c Config) lookAhead(ctx context.Context, key string) *programs {
	b := &programs{config: c, ahead: make(map[inputs.Input]func() (string, error))}
	store, err := snapshots.OpenCached()
	if err != nil {
		return b
	}
	info, err := store.Info(key)
	if err != nil || info.Template == nil {
		return b
	}
	for _, in := range info.Template.Inputs {
		if in.Kind == inputs.Program {
			look := sync.OnceValues(func() (string, error) { return b.stamp(ctx, in) })
			b.ahead[in] = look
			b.group.Go(func() { _, _ = look() })
		}
	}
	return b
}

// wait returns when nothing runs any more.
func (b *programs) wait() { b.group.Wait() }

// program returns the stamp of a program as it is now.
func (b *programs) program(ctx context.Context, in inputs.Input) (string, error) {
	b.mu.Lock()
	look := b.ahead[in]
	delete(b.ahead, in)
	b.mu.Unlock()
	if look != nil {
		return look()
	}
	return b.stamp(ctx, in)
}

func (b *programs) stamp(ctx context.Context, in inputs.Input) (string, error) {
	if wd, err := os.Getwd(); err != nil || wd != in.Dir {
		return "", fmt.Errorf("build %s: not in %s", in.Name, in.Dir)
	}
	return gobuild.Stamp(ctx, in.Name, in.Arch, b.config.notice)
}

// sight finds out what inputs are like now.
func (b *programs) sight(ctx context.Context, given []inputs.Input) inputs.Sight {
	s := inputs.Sight{Given: make(map[string]string)}
	for _, in := range given {
		s.Given[in.Name] = in.Digest
	}
	s.Program = func(in inputs.Input) (string, error) { return b.program(ctx, in) }
	return s
}
