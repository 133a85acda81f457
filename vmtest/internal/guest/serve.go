// Package guest is what runs inside a guest: the init of the initrd, and the agent at
// the other end of the guest link. It also has what the host needs to ask the agent.
package guest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"example.org/systemd-vmtest/vmtest/internal/agent"
)

// AgentUnit is the unit that runs the agent, and AgentUnitName is its name.
//
// It starts as early as possible, so that a guest whose boot does not end can still be
// asked why.
const (
	AgentUnitName = "vmtest-agent.service"
	AgentUnit     = `[Unit]
Description=Guest agent of systemd-vmtest
DefaultDependencies=no
IgnoreOnIsolate=yes
# Stopped in order, so that it is started again after a soft reboot.
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=` + AgentPath + `
# An emulator translates code when it first runs, and in a fork all code runs for the
# first time. So neither signals to goroutines nor a garbage collection.
Environment=GODEBUG=asyncpreemptoff=1 GOGC=off GOMEMLIMIT=48MiB
# Its messages matter most when it cannot be asked any more.
StandardError=journal+console
OOMScoreAdjust=-1000
# A command that the kernel kills for lack of memory is in the agent's control group.
OOMPolicy=continue
# The commands of a test are in the agent's control group, which must not limit them.
TasksMax=infinity
LimitNOFILE=524288
`
)

// Serve serves the host on the guest link, one session after the other, until ctx
// ends.
func Serve(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	server := &agent.Server{Control: control, Log: log}
	for ctx.Err() == nil {
		if err := serveOne(ctx, server); err != nil {
			return err
		}
	}
	return nil
}

// serveOne serves one session. It is no error if the host leaves in the middle of
// something: the next call opens the port again and finds it empty.
func serveOne(ctx context.Context, server *agent.Server) error {
	port, err := OpenPort(ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open guest link: %w", err)
	}
	if err := server.Serve(ctx, port); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "vmtest agent: session ended:", err)
	}
	return nil
}
