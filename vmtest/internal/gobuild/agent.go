package gobuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"example.org/systemd-vmtest/internal/host"
)

// agentPackage is the command that runs inside every guest.
const agentPackage = "example.org/systemd-vmtest/vmtest/cmd/agent"

// Agent returns the executable of the guest's agent. It is the file that $VMTEST_AGENT
// names, or else built in the module of the working directory.
func Agent(ctx context.Context, arch string, notice func(string)) ([]byte, error) {
	if path := os.Getenv("VMTEST_AGENT"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the agent that VMTEST_AGENT names: %w", err)
		}
		if err := checkExecutable(data, arch); err != nil {
			return nil, fmt.Errorf("use %s, the agent that VMTEST_AGENT names: %w", path, err)
		}
		return data, nil
	}
	data, err := Program(ctx, agentPackage, arch, notice)
	if err != nil && ctx.Err() == nil {
		return nil, explainAgent(ctx, err)
	}
	return data, err
}

// explainAgent adds cause and cure to an error of the agent's build: no import of
// package vmtest tells the go command that this command is needed too.
func explainAgent(ctx context.Context, err error) error {
	const otherwise = ", or set VMTEST_AGENT to an agent built by CGO_ENABLED=0 go build " + agentPackage
	if errors.Is(err, exec.ErrNotFound) {
		return &host.Error{Cause: "build the guest's agent: there is no go command",
			Cure: "put it on PATH" + otherwise, Err: err}
	}
	out, envErr := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if envErr != nil {
		return err // the build's own error tells more
	}
	gomod := strings.TrimSpace(string(out))
	if gomod == "" || gomod == os.DevNull {
		return &host.Error{Cause: "build the guest's agent: no Go module around the current folder",
			Cure: "run in the folder of a module that requires example.org/systemd-vmtest" + otherwise, Err: err}
	}
	vendor := filepath.Join(filepath.Dir(gomod), "vendor")
	if exists(filepath.Join(vendor, "modules.txt")) && !exists(filepath.Join(vendor, agentPackage)) {
		return &host.Error{Cause: "build the guest's agent: " + vendor + " lacks its package",
			Cure: "run go mod edit -tool=" + agentPackage + " && go mod tidy && go mod vendor" + otherwise, Err: err}
	}
	return err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
