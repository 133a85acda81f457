package vmtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// baseSnapshots are the snapshots of freshly booted machines that this process has
// opened, by key. They stay open, and so out of reach of a clean-up of the cache,
// as long as the process lives.
var baseSnapshots memo[string, *Snapshot]

// baseSnapshot returns the snapshot of a machine of this kind right after its
// boot, which is made when the cache has none.
func baseSnapshot(ctx context.Context, config Config, in *inputs) (*Snapshot, error) {
	key, err := snapshotKey(config, in)
	if err != nil {
		return nil, err
	}
	return baseSnapshots.get(ctx, key, func() (*Snapshot, error) { return openBaseSnapshot(ctx, config, in, key) })
}

func openBaseSnapshot(ctx context.Context, config Config, in *inputs, key string) (*Snapshot, error) {
	config.Hostname, config.Console = "", nil // a fork's own
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
	notice := func(text string) { config.Progress(images.Progress{Image: in.image.Name, Text: text, Notice: true}) }
	info := snapshots.Info{Key: key, Image: in.image.Name, Memory: config.Memory}
	files, err := store.Open(ctx, info, notice, func(files *snapshots.Files) error {
		notice("booting once; tests fork from the snapshot")
		m, err := boot(ctx, config, in)
		if err != nil {
			return err
		}
		return m.snapshotInto(ctx, files)
	})
	if err != nil {
		return nil, hostError(err)
	}
	// After the use is noted, or the new one would be the first to go.
	if _, err := store.Prune(snapshots.DefaultLimit); err != nil {
		notice("old snapshots are left in the cache: " + err.Error())
	}
	return newSnapshot(config, in, files)
}

// snapshotKey is the digest of all that the state of a booted machine depends on.
func snapshotKey(config Config, in *inputs) (string, error) {
	emulator, args, err := qemu.Fingerprint(description(config, in))
	if err != nil {
		return "", hostError(err)
	}
	data, err := json.Marshal(map[string]any{
		"image":    in.image.Digest,
		"initrd":   in.initrdDigest,
		"emulator": emulator,
		"args":     args,
	})
	if err != nil {
		return "", fmt.Errorf("make snapshot key: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
