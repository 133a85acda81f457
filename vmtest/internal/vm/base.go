package vm

import (
	"context"
	"encoding/json"
	"fmt"

	"example.org/systemd-vmtest/vmtest/internal/inputs"
	"example.org/systemd-vmtest/vmtest/internal/memo"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// bases are the snapshots of freshly booted machines that this process has opened, by
// key. They stay open, so that no clean-up of the cache removes them while the process
// lives.
var bases memo.Memo[string, *Kept]

// ForkBase returns a fork of a machine that s describes and that has just booted. It boots
// one if the cache has no snapshot of it. The caller closes the machine.
func ForkBase(ctx context.Context, s Spec) (*Machine, error) {
	if err := s.noDisk("fork " + s.image()); err != nil {
		return nil, err
	}
	key, err := snapshotKey(s)
	if err != nil {
		return nil, err
	}
	r := recipe{
		info: snapshots.Info{Key: key, Image: s.image(), Memory: s.Memory},
		name: s.image(),
		once: "booting once; tests fork from the snapshot",
		make: func(ctx context.Context, s Spec, _ *snapshots.Info) (*Machine, error) { return Boot(ctx, s) },
	}
	k, err := bases.Get(ctx, key, func() (*Kept, error) { return keep(ctx, r, s) })
	if err != nil {
		return nil, err
	}
	m, _, err := k.forkBy(ctx, s.Instance, r)
	return m, err
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
	return inputs.Digest(data), nil
}
