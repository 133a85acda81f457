package vmtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/initrd"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/trim"
)

// inputs are the files that a machine boots from. They are found once for each
// image in the life of a process: it costs more than a fork to verify the image
// and to see that the agent is up to date.
type inputs struct {
	image *images.Image
	// Open as long as the process lives, so that an image that is built anew
	// meanwhile does not change under the machines that run on this one.
	kernel, root *os.File
	initrd       *os.File // in memory, open as long as the process lives
	initrdDigest string   // SHA-256
	kernelArgs   []string
	accel        qemu.Accel
	kvmFault     string // why KVM is not used, unless that was asked for
}

// inputsOf holds what has been found.
var inputsOf memo[inputsKey, *inputs]

type inputsKey struct {
	image     string
	untrimmed bool
}

func findInputs(ctx context.Context, config Config) (*inputs, error) {
	return inputsOf.get(ctx, inputsKey{config.Image, config.Untrimmed}, func() (*inputs, error) {
		in, err := makeInputs(ctx, config)
		return in, hostError(err)
	})
}

func makeInputs(ctx context.Context, config Config) (_ *inputs, err error) {
	image, err := images.Open(ctx, config.Image, images.Options{Progress: config.Progress})
	if err != nil {
		return nil, err
	}
	in := &inputs{image: image}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	if in.kernel, err = os.Open(image.Kernel()); err != nil {
		return nil, fmt.Errorf("open image %s: %w", image.Name, err)
	}
	if in.root, err = os.Open(image.Root()); err != nil {
		return nil, fmt.Errorf("open image %s: %w", image.Name, err)
	}
	agent, err := agentBinary(ctx, image.Arch, config.notice)
	if err != nil {
		return nil, err
	}
	var trimmed []trim.Item
	if !config.Untrimmed {
		if trimmed, err = trim.List(); err != nil {
			return nil, err
		}
	}
	in.kernelArgs = trim.KernelArgs(trimmed)
	if in.initrd, err = buildInitrd(image, agent, trim.Masks(trimmed)); err != nil {
		return nil, err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(in.initrd, 0, 1<<40)); err != nil {
		return nil, fmt.Errorf("hash initrd: %w", err)
	}
	in.initrdDigest = hex.EncodeToString(hash.Sum(nil))
	return in, in.chooseAccel(ctx, config.notice)
}

// close gives up the files of inputs that come to nothing.
func (in *inputs) close() {
	for _, f := range []*os.File{in.kernel, in.root, in.initrd} {
		f.Close() // a nil *os.File may be closed
	}
}

// buildInitrd makes the archive that boots an image with the agent in it, and with
// further links in the guest's /run.
func buildInitrd(image *images.Image, agent []byte, links map[string]string) (*os.File, error) {
	const units = "systemd/system/"
	links = maps.Clone(links)
	links[units+"sysinit.target.wants/"+guest.AgentUnitName] = "../" + guest.AgentUnitName
	return initrd.Build(initrd.Archive{
		Agent:      agent,
		ModulesDir: image.ModulesDir(),
		Modules:    image.Modules,
		Run:        map[string]string{units + guest.AgentUnitName: guest.AgentUnit},
		RunLinks:   links,
	})
}
