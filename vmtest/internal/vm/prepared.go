package vm

import (
	"context"
	"fmt"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/inputs"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// Preparation makes a machine in another way than by a boot alone.
type Preparation struct {
	// Key tells the snapshot from all others: 64 hexadecimal digits.
	Key string
	// Template describes the snapshot but for what Prepare adds.
	Template snapshots.Template
	// Prepare returns the machine, and completes the description: what it was prepared of,
	// and the units under test.
	Prepare func(context.Context, *snapshots.Template) (*Machine, error)
	// Changed returns which of the inputs has changed, or "".
	Changed func(context.Context, []inputs.Input) string
}

// OpenPrepared opens the snapshot of a prepared machine in the cache. It prepares the
// machine if there is none, or if an input has changed.
func OpenPrepared(ctx context.Context, s Spec, p Preparation) (*Kept, error) {
	if err := s.noDisk("prepare " + s.image()); err != nil {
		return nil, err
	}
	return keep(ctx, p.recipe(s), s)
}

// Fork returns a fork of the snapshot, and the description of that. One that cannot be loaded
// is discarded, and the machine prepared again, once in a process. The caller closes the
// machine.
func (k *Kept) Fork(ctx context.Context, s Spec, p Preparation) (*Machine, snapshots.Template, error) {
	m, of, err := k.forkBy(ctx, s.Instance, p.recipe(s))
	if err != nil {
		return nil, snapshots.Template{}, err
	}
	return m, *of.files.Info.Template, nil // which check or make has seen
}

func (p Preparation) recipe(s Spec) recipe {
	var outdated time.Time // the snapshot, by its creation, that was found to be outdated
	var reason string
	return recipe{
		info: snapshots.Info{Key: p.Key, Image: s.image(), Memory: s.Memory, Template: &p.Template},
		name: fmt.Sprintf("%s: template %s", s.image(), p.Template.Name),
		once: "preparing once; tests fork from the snapshot",
		make: func(ctx context.Context, _ Spec, info *snapshots.Info) (*Machine, error) {
			made := p.Template
			m, err := p.Prepare(ctx, &made)
			if err != nil {
				return nil, err
			}
			info.Template = &made
			return m, nil
		},
		check: func(ctx context.Context, info snapshots.Info) error {
			if info.Template == nil {
				return &snapshots.OutdatedError{Reason: "snapshot.json names no template"}
			}
			// The store asks again with its lock. Only another snapshot can be better.
			if reason == "" || !info.Created.Equal(outdated) {
				outdated, reason = info.Created, p.Changed(ctx, info.Template.Inputs)
			}
			if reason != "" {
				return &snapshots.OutdatedError{Reason: reason}
			}
			return nil
		},
	}
}

// Inputs returns what the machine that s describes depends on.
func (s Spec) Inputs() ([]inputs.Input, error) {
	emulator, args, err := qemu.Fingerprint(s.machine())
	if err != nil {
		return nil, HostError(err)
	}
	return []inputs.Input{
		{Kind: inputs.Given, Name: "image " + s.image(), Digest: s.Files.Image.Digest},
		{Kind: inputs.Given, Name: "the guest's agent or initrd", Digest: s.Files.InitrdDigest},
		{Kind: inputs.Given, Name: "QEMU", Digest: inputs.Digest([]byte(emulator))},
		{Kind: inputs.Given, Name: "the list of QEMU's arguments", Digest: inputs.Digest(fmt.Appendf(nil, "%q", args))},
	}, nil
}
