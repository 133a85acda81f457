package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"example.org/systemd-vmtest/vmtest/internal/memo"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// baseSnapshots are the snapshots of freshly booted machines that this process has
// opened, by key. They stay open, and so out of reach of a clean-up of the cache,
// as long as the process lives.
var baseSnapshots memo.Memo[string, *Snapshot]

// Base returns the snapshot of a machine like s right after its boot. It boots one if
// the cache has no such snapshot. The snapshot stays open as long as the process lives.
func Base(ctx context.Context, s Spec) (*Snapshot, error) {
	if err := s.noDisk("fork " + s.image()); err != nil {
		return nil, err
	}
	key, err := snapshotKey(s)
	if err != nil {
		return nil, err
	}
	return baseSnapshots.Get(ctx, key, func() (*Snapshot, error) { return openBase(ctx, s, key) })
}

func openBase(ctx context.Context, s Spec, key string) (*Snapshot, error) {
	store, err := snapshots.OpenCached()
	if err != nil {
		return nil, err
	}
	store.Check = func(files *snapshots.Files) error {
		at, err := readMoment(files)
		if err != nil {
			return err
		}
		return at.Session.Check(ctx)
	}
	notice := func(text string) { s.notice(s.image() + ": " + text) }
	s.Hostname, s.Console = "", nil // each fork has its own
	info := snapshots.Info{Key: key, Image: s.image(), Memory: s.Memory}
	files, err := store.Open(ctx, info, notice, func(files *snapshots.Files) error {
		notice("booting once; tests fork from the snapshot")
		m, err := Boot(ctx, s)
		if err != nil {
			return err
		}
		return m.snapshotInto(ctx, files)
	})
	if err != nil {
		return nil, HostError(err)
	}
	// After the use is noted, or the new one would be the first to go.
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
