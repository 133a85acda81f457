package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"example.org/systemd-vmtest/vmtest/internal/memo"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// bases are the snapshots of freshly booted machines that this process has opened, by
// key. They stay open, so that no clean-up of the cache removes them while the process
// lives.
var bases memo.Memo[string, *base]

// base is the snapshot of a freshly booted machine.
type base struct {
	key string

	// users counts the forks in progress. The call that replaces the snapshot holds all of it.
	users     *semaphore.Weighted
	snapshot  *Snapshot
	discarded bool // snapshot could not be loaded, and is no longer in the store
	remade    bool // snapshot was made in place of one that was discarded
}

// mostUsers is the size of base.users.
const mostUsers = 1 << 30

// ForkBase returns a fork of a machine that s describes and that has just booted. It boots
// one if the cache has no snapshot of it. A snapshot that cannot be loaded is discarded and
// made again, once in a process. The caller closes the machine.
func ForkBase(ctx context.Context, s Spec) (*Machine, error) {
	b, err := openBase(ctx, s)
	if err != nil {
		return nil, err
	}
	m, broken, err := b.fork(ctx, s.Instance)
	if err == nil || ctx.Err() != nil {
		return m, err
	}
	if err := b.replace(ctx, s, broken, err); err != nil {
		return nil, err
	}
	m, _, err = b.fork(ctx, s.Instance)
	return m, err
}

func openBase(ctx context.Context, s Spec) (*base, error) {
	if err := s.noDisk("fork " + s.image()); err != nil {
		return nil, err
	}
	key, err := snapshotKey(s)
	if err != nil {
		return nil, err
	}
	return bases.Get(ctx, key, func() (*base, error) {
		snapshot, err := openSnapshot(ctx, s, key)
		if err != nil {
			return nil, err
		}
		return &base{key: key, users: semaphore.NewWeighted(mostUsers), snapshot: snapshot}, nil
	})
}

// fork returns a fork and the snapshot that was forked.
func (b *base) fork(ctx context.Context, i Instance) (*Machine, *Snapshot, error) {
	if err := b.users.Acquire(ctx, 1); err != nil {
		return nil, nil, context.Cause(ctx)
	}
	defer b.users.Release(1)
	m, err := b.snapshot.Fork(ctx, i)
	return m, b.snapshot, err
}

// replace makes the snapshot again, after a fork of broken has failed with cause. It
// returns an error if that would not help.
func (b *base) replace(ctx context.Context, s Spec, broken *Snapshot, cause error) error {
	if err := b.users.Acquire(ctx, mostUsers); err != nil {
		return context.Cause(ctx)
	}
	defer b.users.Release(mostUsers)
	switch {
	case b.snapshot != broken: // another caller has replaced it
		return nil
	case b.remade, !b.discarded && !errors.As(cause, new(*unloadableError)):
		return cause
	}
	if !b.discarded {
		first, _, _ := strings.Cut(cause.Error(), "\n")
		s.notice(fmt.Sprintf("%s: the snapshot cannot be loaded (%s); making it again", s.image(), first))
		if err := broken.files.Discard(ctx); err != nil {
			return errors.Join(cause, err)
		}
		b.discarded = true
	}
	snapshot, err := openSnapshot(ctx, s, b.key)
	if err != nil {
		return err
	}
	b.snapshot, b.remade = snapshot, true
	return nil
}

// openSnapshot opens the snapshot in the cache, and makes it if there is none.
func openSnapshot(ctx context.Context, s Spec, key string) (*Snapshot, error) {
	store, err := snapshots.OpenCached()
	if err != nil {
		return nil, err
	}
	made := false
	store.Check = func(files *snapshots.Files) error {
		at, err := readMoment(files)
		if err != nil {
			return err
		}
		if err := at.overdue(time.Now()); err != nil && !made { // a second one could be no better
			return err
		}
		return at.Session.Check(ctx)
	}
	notice := func(text string) { s.notice(s.image() + ": " + text) }
	s.Hostname, s.Console = "", nil // each fork has its own
	info := snapshots.Info{Key: key, Image: s.image(), Memory: s.Memory}
	files, err := store.Open(ctx, info, notice, func(files *snapshots.Files) error {
		notice("booting once; tests fork from the snapshot")
		made = true
		m, err := Boot(ctx, s)
		if err != nil {
			return err
		}
		return m.snapshotInto(ctx, files)
	})
	if err != nil {
		return nil, HostError(err)
	}
	// After the use is noted. Otherwise the new snapshot would be the first to go.
	if _, err := store.Prune(snapshots.DefaultLimit); err != nil {
		notice("old snapshots are left in the cache: " + err.Error())
	}
	return newSnapshot(s, files)
}

// snapshotKey returns the digest of all that the state of a booted machine depends on.
func snapshotKey(s Spec) (string, error) {
	emulator, args, err := qemu.Fingerprint(s.machine())
	if err != nil {
		return "", HostError(err)
	}
	data, err := json.Marshal(map[string]any{
		"format":   snapshots.Format,
		"image":    s.Files.Image.Digest,
		"initrd":   s.Files.InitrdDigest,
		"emulator": emulator,
		"args":     args,
	})
	if err != nil {
		return "", fmt.Errorf("make snapshot key: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
