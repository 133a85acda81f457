package vmtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/initrd"
)

// inputs are the files that a machine boots from. They are found once for each
// image in the life of a process: it costs more than a fork to verify the image
// and to see that the agent is up to date.
type inputs struct {
	image        *images.Image
	initrd       *os.File // in memory, open as long as the process lives
	initrdDigest string   // SHA-256
}

// inputsOf holds what has been found, by name of the image.
var inputsOf struct {
	mu    sync.Mutex
	found map[string]*inputs
}

func findInputs(ctx context.Context, config Config) (*inputs, error) {
	inputsOf.mu.Lock()
	defer inputsOf.mu.Unlock()
	if in := inputsOf.found[config.Image]; in != nil {
		return in, nil
	}
	image, err := images.Open(ctx, config.Image, images.Options{Progress: config.Progress})
	if err != nil {
		return nil, err
	}
	agent, err := agentBinary(ctx, image.Arch)
	if err != nil {
		return nil, err
	}
	ramdisk, err := initrd.Build(initrd.Archive{
		Agent:      agent,
		ModulesDir: image.ModulesDir(),
		Modules:    image.Modules,
		Run:        map[string]string{"systemd/system/" + guest.AgentUnitName: guest.AgentUnit},
		RunLinks:   map[string]string{"systemd/system/sysinit.target.wants/" + guest.AgentUnitName: "../" + guest.AgentUnitName},
	})
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(ramdisk, 0, 1<<40)); err != nil {
		return nil, fmt.Errorf("hash initrd: %w", err)
	}
	in := &inputs{image: image, initrd: ramdisk, initrdDigest: hex.EncodeToString(hash.Sum(nil))}
	if inputsOf.found == nil {
		inputsOf.found = make(map[string]*inputs)
	}
	inputsOf.found[config.Image] = in
	return in, nil
}
