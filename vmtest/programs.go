package vmtest

import (
	"context"
	"fmt"
	"os"
	"sync"

	"example.org/systemd-vmtest/vmtest/internal/gobuild"
	"example.org/systemd-vmtest/vmtest/internal/inputs"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// builds are builds of the programs in the record of a template. They run while the image
// is opened and the agent is found, because both are mostly the go command's work.
type builds struct {
	config Config
	group  sync.WaitGroup

	mu    sync.Mutex
	ahead map[inputs.Input]func() (string, error) // taken out by the first who needs it
}

// buildAhead begins to build the programs that the template with that key had. A record
// that cannot be read has none, and the caller that opens the snapshot finds out why.
func (c Config) buildAhead(ctx context.Context, key string) *builds {
	b := &builds{config: c, ahead: make(map[inputs.Input]func() (string, error))}
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
			build := sync.OnceValues(func() (string, error) { return b.build(ctx, in) })
			b.ahead[in] = build
			b.group.Go(func() { _, _ = build() })
		}
	}
	return b
}

// wait returns when no build runs.
func (b *builds) wait() { b.group.Wait() }

// program returns the digest of a program as it is now.
func (b *builds) program(ctx context.Context, in inputs.Input) (string, error) {
	b.mu.Lock()
	build := b.ahead[in]
	delete(b.ahead, in)
	b.mu.Unlock()
	if build != nil {
		return build()
	}
	return b.build(ctx, in)
}

func (b *builds) build(ctx context.Context, in inputs.Input) (string, error) {
	if wd, err := os.Getwd(); err != nil || wd != in.Dir {
		return "", fmt.Errorf("build %s: not in %s", in.Name, in.Dir)
	}
	program, err := gobuild.Program(ctx, in.Name, in.Arch, b.config.notice)
	return inputs.Digest(program), err
}

// sight finds out what inputs are like now.
func (b *builds) sight(ctx context.Context, given []inputs.Input) inputs.Sight {
	s := inputs.Sight{Given: make(map[string]string)}
	for _, in := range given {
		s.Given[in.Name] = in.Digest
	}
	s.Program = func(in inputs.Input) (string, error) { return b.program(ctx, in) }
	return s
}
