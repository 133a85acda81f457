package conformance

import (
	"strings"
	"syscall"
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestUpholds(t *testing.T) {
	conform(t, row.Row{
		ID: "upholds", Claim: "a socket that another unit upholds is started again after a stop",
		Since: 249, See: "systemd.unit(5) Upholds=",
	}, func(g *guest) {
		g.start("holder.service")
		g.state("held.socket", "listening")
		invocation := g.show("held.socket", "InvocationID")
		g.Unit("held.socket").Stop(g.t)
		g.state("held.socket", "listening")
		g.is("another invocation", g.show("held.socket", "InvocationID") != invocation, true)
	})
}

func TestConditionSocket(t *testing.T) {
	conform(t, row.Row{
		ID: "condition-socket", Claim: "ConditionPathIsSocket= holds for the path of a listener",
		Since: 260, See: "systemd.unit(5) ConditionPathIsSocket=",
	}, func(g *guest) {
		g.is("without the listener", g.tryStart("if.service") != "done", true)
		g.start("listening.socket")
		g.is("with it", g.tryStart("if.service"), "done")
	})
}

func TestRequires(t *testing.T) {
	conform(t, row.Row{
		ID: "requires", Claim: "a service that requires its socket is stopped with it, and starts it",
		See: "systemd.unit(5) Requires=",
	}, func(g *guest) {
		g.start("bound.service")
		g.is("socket", g.show("bound.socket", "ActiveState", "SubState"), "active running")
		g.is("answer", g.dial("/run/bound.sock").ask("hello"), "hello")
		g.Unit("bound.socket").Stop(g.t)
		g.is("service after a stop of the socket", g.show("bound.service", "ActiveState"), "inactive")
	})
}

func TestServiceFirst(t *testing.T) {
	conform(t, row.Row{
		ID: "service-first", Claim: "a service that is started by hand is passed the listeners of its active socket",
		See: "systemd.socket(5)",
	}, func(g *guest) {
		g.start("first.socket", "first.service")
		g.is("state of the socket", g.show("first.socket", "SubState"), "running")
		g.is("LISTEN_FDS", g.dial("/run/first.sock").ask("env LISTEN_FDS"), "1")
	})
}

func TestSocketsWants(t *testing.T) {
	conform(t, row.Row{
		ID: "sockets-wants", Claim: "a start of a service starts the socket units of its Sockets= before it",
		See: "systemd.service(5) Sockets=",
	}, func(g *guest) {
		g.start("wants.service")
		g.is("states", g.show("a.socket", "SubState")+" "+g.show("b.socket", "SubState"), "running running")
		g.is("LISTEN_FDS", g.dial("/run/b.sock").ask("env LISTEN_FDS"), "2")
	})
}

func TestStopWarning(t *testing.T) {
	conform(t, row.Row{
		ID: "stop-warning", Claim: "systemctl stop of a service names the socket that can start it again",
		See: "systemctl(1) stop",
	}, func(g *guest) {
		g.start("warn.socket")
		g.dial("/run/warn.sock").report()
		out, status := g.exit("systemctl", "stop", "warn.service")
		g.is("exit status", status, 0)
		g.is("text", strings.Join(strings.Fields(out), " "), "Stopping 'warn.service', but its triggering units are still active: warn.socket",
			before(257, "Warning: Stopping warn.service, but it can still be activated by: warn.socket"))
	})
}

func TestStopPending(t *testing.T) {
	conform(t, row.Row{
		ID: "stop-pending", Claim: "a service that is stopped with a client in the queue is started again for it",
		See: "systemd.socket(5)",
	}, func(g *guest) {
		g.start("stopped.socket")
		c := g.dial("/run/stopped.sock")
		c.send("env INVOCATION_ID")
		g.state("stopped.service", "running")
		invocation := g.show("stopped.service", "InvocationID")
		g.Unit("stopped.service").Stop(g.t)
		g.state("stopped.service", "running")
		g.WriteFile(g.t, "/run/open", nil, 0o644)
		id := c.get()
		g.is("another invocation answers", []bool{id != invocation, id != "EOF"}, []bool{true, true})
	})
}

func TestRestartOnFailure(t *testing.T) {
	conform(t, row.Row{
		ID: "restart-always", Claim: "Restart=on-failure passes the same listeners to the next process",
		See: "systemd.service(5) Restart=",
	}, func(g *guest) {
		g.fails("always.service") // it is killed
		g.start("always.socket")
		c := g.dial("/run/always.sock")
		pid := c.report().PID
		g.Unit("always.service").Kill(g.t, syscall.SIGKILL)
		g.is("the client", c.get(), "EOF")
		r := g.dial("/run/always.sock").report()
		g.is("another process with the listener", []bool{r.PID != pid, descriptor(r).Listens}, []bool{true, true})
		g.is("NRestarts", g.show("always.service", "NRestarts"), "1")
	})
}

func TestCommandsOfTheService(t *testing.T) {
	conform(t, row.Row{
		ID: "exec-start-pre", Claim: "only ExecStart= is passed the listeners, and neither ExecStartPre= nor ExecStartPost=",
		See: "sd_listen_fds(3)",
	}, func(g *guest) {
		g.start("pre.socket")
		g.is("LISTEN_FDS of ExecStart=", g.dial("/run/pre.sock").ask("env LISTEN_FDS"), "1")
		g.waitLog("pre.service", "pre has none")
		g.waitLog("pre.service", "post has none")
	})
}

func TestRestartSteps(t *testing.T) {
	conform(t, row.Row{
		ID: "restart-steps", Claim: "RestartSteps= lengthens the delay before the next restart up to RestartMaxDelaySec=",
		Since: 254, See: "systemd.service(5) RestartSteps=",
	}, func(g *guest) {
		g.fails("steps.service")
		g.start("steps.socket")
		g.dial("/run/steps.sock").send("exit 1")
		g.Unit("steps.service").WaitProperty(g.t, "NRestarts", 1)
		g.is("delay before the second restart", g.show("steps.service", "RestartUSecNext"), "7.745966s")
	})
}

func TestNotifyReload(t *testing.T) {
	conform(t, row.Row{
		ID: "notify-reload", Claim: "a reload of a Type=notify-reload service sends SIGHUP, waits for READY=1, and keeps its connections",
		Since: 253, See: "systemd.service(5) Type=",
	}, func(g *guest) {
		g.start("reload.socket")
		c := g.dial("/run/reload.sock")
		c.report()
		g.Unit("reload.service").Reload(g.t)
		g.logs("reload.service", "reloading")
		g.is("answer to the client from before", c.ask("hello"), "hello")
	})
}

func TestNotifyReloadSignal(t *testing.T) {
	conform(t, row.Row{
		ID: "notify-reload-signal", Claim: "a Type=notify-reload service that does not catch the signal at READY=1 fails to start",
		Since: 253, See: "systemd.service(5) ReloadSignal=",
	}, func(g *guest) {
		g.is("start", g.tryStart("deaf.service"), "failed", before(262, "done"))
	})
}

func TestExitType(t *testing.T) {
	conform(t, row.Row{
		ID: "exit-type", Claim: "a service of ExitType=cgroup is active until its last process ends",
		Since: 250, See: "systemd.service(5) ExitType=",
	}, func(g *guest) {
		g.start("group.service")
		g.Unit("group.service").WaitProperty(g.t, "MainPID", 0)
		g.is("state without a main process", g.show("group.service", "ActiveState", "SubState"), "active running")
	})
}

func TestMemoryPressure(t *testing.T) {
	conform(t, row.Row{
		ID: "memory-pressure", Claim: "a service has the file of its memory pressure in MEMORY_PRESSURE_WATCH",
		Since: 254, See: "systemd.exec(5) $MEMORY_PRESSURE_WATCH",
	}, func(g *guest) {
		g.start("watch.socket")
		file := g.dial("/run/watch.sock").ask("env MEMORY_PRESSURE_WATCH")
		g.is("file", strings.TrimPrefix(file, "/sys/fs/cgroup"), "/system.slice/watch.service/memory.pressure")
	})
}
