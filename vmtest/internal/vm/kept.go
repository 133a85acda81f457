package vm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// Kept is a snapshot that the cache keeps and that this process has opened. It stays open
// until the process ends, and no clean-up of the cache removes it.
type Kept struct {
	// users counts the forks in progress. The call that replaces the snapshot holds all of it.
	users     *semaphore.Weighted
	snapshot  *Snapshot
	discarded bool // snapshot could not be loaded, and is no longer in the store
	remade    bool // snapshot was made in place of one that was discarded
}

// mostUsers is the size of Kept.users.
const mostUsers = 1 << 30

// recipe says how to make a snapshot for the cache.
type recipe struct {
	info snapshots.Info
	name string // in notices
	once string // the notice that it is made

	// make returns the machine of the snapshot, and may complete its description.
	make func(context.Context, Spec, *snapshots.Info) (*Machine, error)
	// check, if not nil, returns an error for a snapshot that must be made again.
	check func(context.Context, snapshots.Info) error
}

// keep opens the snapshot of a recipe, whose machine s describes.
func keep(ctx context.Context, r recipe, s Spec) (*Kept, error) {
	snapshot, err := r.open(ctx, s)
	if err != nil {
		return nil, err
	}
	return &Kept{users: semaphore.NewWeighted(mostUsers), snapshot: snapshot}, nil
}

// forkBy returns a fork of the snapshot, and the snapshot that was forked. A snapshot that
// cannot be loaded is discarded and made again by the recipe, once in a process. The caller
// closes the machine.
func (k *Kept) forkBy(ctx context.Context, i Instance, r recipe) (*Machine, *Snapshot, error) {
	m, of, err := k.fork(ctx, i)
	if err == nil || ctx.Err() != nil {
		return m, of, err
	}
	if err := k.replace(ctx, i, r, of, err); err != nil {
		return nil, nil, err
	}
	return k.fork(ctx, i)
}

// fork returns a fork and the snapshot that was forked.
func (k *Kept) fork(ctx context.Context, i Instance) (*Machine, *Snapshot, error) {
	if err := k.users.Acquire(ctx, 1); err != nil {
		return nil, nil, context.Cause(ctx)
	}
	defer k.users.Release(1)
	m, err := k.snapshot.Fork(ctx, i)
	return m, k.snapshot, err
}

// replace makes the snapshot again, after a fork of broken has failed with cause. It
// returns an error if that would not help.
func (k *Kept) replace(ctx context.Context, i Instance, r recipe, broken *Snapshot, cause error) error {
	if err := k.users.Acquire(ctx, mostUsers); err != nil {
		return context.Cause(ctx)
	}
	defer k.users.Release(mostUsers)
	switch {
	case k.snapshot != broken: // another caller has replaced it
		return nil
	case k.remade, !k.discarded && !errors.As(cause, new(*unloadableError)):
		return cause
	}
	if !k.discarded {
		first, _, _ := strings.Cut(cause.Error(), "\n")
		i.notice(fmt.Sprintf("%s: the snapshot cannot be loaded (%s); making it again", r.name, first))
		if err := broken.files.Discard(ctx); err != nil {
			return errors.Join(cause, err)
		}
		k.discarded = true
	}
	s := broken.spec
	s.Instance = i
	snapshot, err := r.open(ctx, s)
	if err != nil {
		return err
	}
	k.snapshot, k.remade = snapshot, true
	return nil
}

// open opens the snapshot in the cache, and makes it if there is none.
func (r recipe) open(ctx context.Context, s Spec) (*Snapshot, error) {
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
		if !made { // a second one could be no better
			if err := at.overdue(time.Now()); err != nil {
				return err
			}
			if r.check != nil {
				if err := r.check(ctx, files.Info); err != nil {
					return err
				}
			}
		}
		return at.Session.Check(ctx)
	}
	notice := func(text string) { s.notice(r.name + ": " + text) }
	s.Hostname, s.Network, s.Clock, s.Console = "", "", time.Time{}, nil // each fork has its own
	files, err := store.Open(ctx, r.info, notice, func(files *snapshots.Files) error {
		notice(r.once)
		made = true
		m, err := r.make(ctx, s, &files.Info)
		if err != nil {
			return err
		}
		defer m.Close()
		return m.snapshotTo(ctx, files, stopping{prepare: m.settleDown})
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
