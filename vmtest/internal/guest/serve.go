// Package guest is the part of the framework that runs inside a guest: the init
// of the initrd, and the agent at the other end of the guest link.
package guest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"example.org/systemd-vmtest/vmtest/internal/agent"
)

// AgentUnit is the unit that runs the agent, and AgentUnitName its name.
//
// Nothing is ordered before it but the port's device, so that a guest that stops
// half-way through its boot can still be asked why.
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
# Under emulation code costs most the first time that it runs, which in a fork is
# every time: neither signals to goroutines nor a first collection of garbage.
Environment=GODEBUG=asyncpreemptoff=1 GOGC=off GOMEMLIMIT=48MiB
# What it has to say is wanted most when it cannot be asked any more.
StandardError=journal+console
OOMScoreAdjust=-1000
# A command that the kernel kills for want of memory is in the agent's control group.
OOMPolicy=continue
# What a test runs belongs to the agent's control group; its limits are no one's.
TasksMax=infinity
LimitNOFILE=524288
`
)

// Serve answers the host on the guest link, one session after the other, until
// ctx ends.
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

// serveOne answers one session. A host that leaves, in whatever state, is no
// error: the next one finds the port reopened and empty.
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
