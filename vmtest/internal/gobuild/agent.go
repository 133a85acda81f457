package gobuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"

	"example.org/systemd-vmtest/internal/host"
)

// agentPackage is the command that runs inside every guest.
const agentPackage = "example.org/systemd-vmtest/vmtest/cmd/agent"

// Agent returns the executable of the guest's agent. It reads the file that
// $VMTEST_AGENT names, or builds the agent in the module of the working directory. All
// modules that would build it of the same sources share one executable, and with it the
// snapshots of the machines that it runs in. Where it cannot be built, the command vmtest
// is its own agent.
func Agent(ctx context.Context, arch string, notice func(string)) ([]byte, error) {
	if path := os.Getenv("VMTEST_AGENT"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read VMTEST_AGENT: %w", err)
		}
		if err := checkExecutable(data, arch); err != nil {
			return nil, fmt.Errorf("check VMTEST_AGENT: %s: %w", path, err)
		}
		return data, nil
	}
	if dir := os.Getenv("VMTEST_GO_PREBUILT"); dir != "" {
		return prebuilt(dir, agentPackage, arch)
	}
	data, err := fromCache(notice, func(dir string) ([]byte, error) { return identical(ctx, dir, agentPackage, arch) })
	if err != nil && ctx.Err() == nil {
		return withoutBuild(arch, explainAgent(ctx, err), ownExecutable, notice)
	}
	return data, err
}

// commandPackage is the command that is an agent, too.
const commandPackage = "example.org/systemd-vmtest/vmtest/cmd/vmtest"

// ownExecutable returns the path of this process's executable, if that is commandPackage.
func ownExecutable() (path string, ok bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Path != commandPackage {
		return "", false
	}
	path, err := os.Executable()
	return path, err == nil
}

// withoutBuild returns this process's own executable as the agent, or err, the reason why
// the agent could not be built, if that is about the host's disk or the executable is none.
func withoutBuild(arch string, err error, executable func() (string, bool), notice func(string)) ([]byte, error) {
	lacking, isHost := errors.AsType[*host.Error](err)
	path, ok := executable()
	if !ok || isHost && lacking.Check != host.Agent {
		return nil, err
	}
	data, errOwn := os.ReadFile(path)
	if errOwn == nil {
		errOwn = checkExecutable(data, arch)
	}
	if errOwn == nil {
		if !isHost { // this module has an agent, which does not build
			notice("the guest's agent is " + path + " itself: " + err.Error())
		}
		return data, nil
	}
	cause := err.Error()
	if isHost {
		cause = lacking.Cause
	}
	return nil, &host.Error{
		Cause: fmt.Sprintf("%s; %s cannot be the agent: %v", cause, path, errOwn),
		Cure:  "install vmtest with CGO_ENABLED=0, or run it with Go in the directory of a module that requires example.org/systemd-vmtest",
		Check: host.Agent, Err: err,
	}
}

// explainAgent returns err as a *host.Error with the cure, if the working directory is
// the reason why the agent cannot be built. No import of package vmtest makes the go
// command include the agent, so a module may well lack it.
func explainAgent(ctx context.Context, err error) error {
	const otherwise = ", or set VMTEST_AGENT to an agent built by CGO_ENABLED=0 go build " + agentPackage
	if errors.Is(err, exec.ErrNotFound) {
		return &host.Error{Cause: "build the guest's agent: no go command on PATH",
			Cure: "add it to PATH" + otherwise, Check: host.Agent, Err: err}
	}
	out, envErr := goCommand(ctx, nil, "env", "GOMOD")
	if envErr != nil {
		return err // that of the build has more detail
	}
	gomod := strings.TrimSpace(string(out))
	if gomod == "" || gomod == os.DevNull {
		return &host.Error{Cause: "build the guest's agent: the working directory is not in a Go module",
			Cure: "run in the directory of a module that requires example.org/systemd-vmtest" + otherwise, Check: host.Agent, Err: err}
	}
	if strings.Contains(err.Error(), "no required module provides package "+agentPackage) {
		return &host.Error{Cause: "build the guest's agent: " + gomod + " does not require example.org/systemd-vmtest",
			Cure: "run go get " + agentPackage + otherwise, Check: host.Agent, Err: err}
	}
	vendor := filepath.Join(filepath.Dir(gomod), "vendor")
	if exists(filepath.Join(vendor, "modules.txt")) && !exists(filepath.Join(vendor, agentPackage)) {
		return &host.Error{Cause: "build the guest's agent: its package is not in " + vendor,
			Cure: "run go mod edit -tool=" + agentPackage + " && go mod tidy && go mod vendor" + otherwise, Check: host.Agent, Err: err}
	}
	if untidy(err) {
		return &host.Error{Cause: "build the guest's agent: " + gomod + " is not tidy",
			Cure: "run go mod tidy" + otherwise, Check: host.Agent, Err: err}
	}
	return err
}

// untidy reports whether the go command refused a build because go.mod or go.sum lacks
// what the modules in it require.
func untidy(err error) bool {
	text := err.Error()
	return strings.Contains(text, "updates to go.mod needed") || strings.Contains(text, "missing go.sum entry")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
