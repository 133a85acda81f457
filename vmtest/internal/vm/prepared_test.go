package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/inputs"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// preparer opens one template again and again, as processes one after the other do.
type preparer struct {
	t       *testing.T
	spec    Spec
	said    notices
	changed string // what Changed returns
	fault   error  // what Prepare returns
	made    int    // how often Prepare was called
	asked   int    // how often Changed was called
}

func newPreparer(t *testing.T) *preparer {
	p := &preparer{t: t, spec: someSpec(t)}
	p.spec.Notice = p.said.add
	return p
}

func (p *preparer) open(ctx context.Context) (*Kept, error) {
	return OpenPrepared(ctx, p.spec, p.preparation())
}

func (p *preparer) preparation() Preparation {
	return Preparation{
		Key:      strings.Repeat("5", 64),
		Template: snapshots.Template{Name: "units", Package: "example.org/daemon"},
		Prepare: func(ctx context.Context, made *snapshots.Template) (*Machine, error) {
			p.made++
			if p.fault != nil {
				return nil, p.fault
			}
			made.Inputs = []inputs.Input{{Kind: inputs.Env, Name: "HOME", Digest: "1"}}
			made.Tested = []string{"a.service"}
			return Boot(ctx, p.spec)
		},
		Changed: func(_ context.Context, list []inputs.Input) string {
			assert.Equal(p.t, []inputs.Input{{Kind: inputs.Env, Name: "HOME", Digest: "1"}}, list)
			p.asked++
			return p.changed
		},
	}
}

// fork opens the template and forks it.
func (p *preparer) fork() {
	p.t.Helper()
	k, err := p.open(p.t.Context())
	require.NoError(p.t, err)
	m, made, err := k.Fork(p.t.Context(), p.spec, p.preparation())
	require.NoError(p.t, err)
	assert.Equal(p.t, []string{"a.service"}, made.Tested)
	assert.NoError(p.t, m.run(p.t.Context(), "true"))
	m.Close()
}

// A template is prepared once, again when an input has changed, and the notice names it.
func TestPreparedOnce(t *testing.T) {
	newFakeHost(t)
	p := newPreparer(t)
	p.fork()
	p.fork()
	assert.Equal(t, 1, p.made)
	assert.Equal(t, []string{"debian-13: template units: preparing once; tests fork from the snapshot"}, p.said.text)

	p.changed = "/etc/motd has changed"
	p.fork()
	assert.Equal(t, 2, p.made)
	assert.Equal(t, 2, p.asked, "once for each fork that found a snapshot")
	assert.Equal(t, "debian-13: template units: /etc/motd has changed; making it again", p.said.text[1])
	p.changed = ""
	p.fork()
	assert.Equal(t, 2, p.made)

	store, err := snapshots.OpenCached()
	require.NoError(t, err)
	list, err := store.List()
	require.NoError(t, err)
	require.Len(t, list, 1, "the new machine is in the place of the old one")
	assert.Equal(t, "units", list[0].Template.Name)
}

// A template that cannot be prepared leaves nothing, and is tried again.
func TestPreparedThatFails(t *testing.T) {
	newFakeHost(t)
	p := newPreparer(t)
	p.fault = errors.New("no luck")
	for range 2 {
		_, err := p.open(t.Context())
		assert.EqualError(t, err, "no luck")
	}
	assert.Equal(t, 2, p.made)
	left, err := os.ReadDir(filepath.Join(os.Getenv("VMTEST_CACHE"), "snapshots"))
	require.NoError(t, err)
	assert.Empty(t, left)

	p.fault = nil
	p.fork()
	p.changed, p.fault = "$HOME has changed", errors.New("no luck")
	_, err = p.open(t.Context())
	assert.EqualError(t, err, "no luck", "the old machine is not used")
	p.changed, p.fault = "", nil
	p.fork()
	assert.Equal(t, 2+1+1+1, p.made, "the old machine is gone")
}

// A prepared machine that cannot be loaded is prepared again, by the caller that needs it.
func TestPreparedThatCannotBeLoaded(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = brokenUntil(2)
	opener, forker := newPreparer(t), newPreparer(t)
	k, err := opener.open(t.Context())
	require.NoError(t, err)
	m, made, err := k.Fork(t.Context(), forker.spec, forker.preparation())
	require.NoError(t, err)
	m.Close()
	assert.Equal(t, []string{"a.service"}, made.Tested)
	assert.Equal(t, 1, opener.made)
	assert.Equal(t, 1, forker.made)
	assert.Equal(t, 1, forker.said.count("template units: the snapshot cannot be loaded ("), "%v", forker.said.text)
}

// A prepared machine in which a timer is overdue is prepared again.
func TestPreparedWhoseTimerIsOverdue(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = func(f *fakeMachine) { f.elapses = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC) }
	p := newPreparer(t)
	p.fork()
	p.fork()
	assert.Equal(t, 2, p.made)
	assert.Equal(t, 1, p.said.count("daily.timer would elapse"), "%v", p.said.text)
}

// A check that the context ended says nothing about the machine.
func TestPreparedWhoseCheckIsCut(t *testing.T) {
	newFakeHost(t)
	p := newPreparer(t)
	p.fork()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.changed = "program ./daemon cannot be built now"
	_, err := p.open(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	p.changed = ""
	p.fork()
	assert.Equal(t, 1, p.made)
}

// What a machine depends on has a name each, and any of it changes the digest of its own.
func TestSpecInputs(t *testing.T) {
	newFakeHost(t)
	s := someSpec(t)
	before, err := s.Inputs()
	require.NoError(t, err)
	for i, change := range []func(*Spec){
		func(s *Spec) { s.Files.Image.Digest += "1" },
		func(s *Spec) { s.Files.InitrdDigest += "1" },
		func(*Spec) {},
		func(s *Spec) { s.KernelArgs = []string{"quiet"} },
	} {
		s := someSpec(t)
		change(&s)
		after, err := s.Inputs()
		require.NoError(t, err)
		for j := range after {
			assert.Equal(t, i == j && i != 2, before[j] != after[j], "change %d, %s", i, after[j].Name)
		}
	}
}
