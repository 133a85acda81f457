package conformance

import (
	"fmt"
	"syscall"
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestQueue(t *testing.T) {
	conform(t, row.Row{
		ID: "queue", Claim: "connections that are made while the service starts and restarts wait and are served",
		See: "systemd.socket(5)",
	}, func(g *guest) {
		g.start("slow.socket")
		var waiting []*client
		for n := range 3 {
			c := g.dial("/run/slow.sock")
			c.send(fmt.Sprint("hello ", n))
			waiting = append(waiting, c)
		}
		g.state("slow.service", "running")
		g.Unit("slow.service").Restart(g.t)
		g.WriteFile(g.t, "/run/open", nil, 0o644)
		for n, c := range waiting {
			g.is(fmt.Sprint("answer to client ", n), c.get(), fmt.Sprint("hello ", n))
		}
	})
}

func TestCrash(t *testing.T) {
	conform(t, row.Row{
		ID: "crash", Claim: "a service that is killed with a connection in the queue is started again for it",
		See: "systemd.socket(5)",
	}, func(g *guest) {
		g.fails("crash.service")
		g.start("crash.socket")
		c := g.dial("/run/crash.sock")
		c.send("env INVOCATION_ID")
		g.state("crash.service", "running") // and does not accept yet
		invocation := g.show("crash.service", "InvocationID")
		g.Unit("crash.service").Kill(g.t, syscall.SIGKILL)
		g.waitLog("crash.service", "code=killed, status=9/KILL")
		g.WriteFile(g.t, "/run/open", nil, 0o644)
		id := c.get()
		g.is("another invocation answers", []bool{id != invocation, id != "EOF"}, []bool{true, true})
	})
}

func TestReloadKeeps(t *testing.T) {
	conform(t, row.Row{
		ID: "reload-keeps", Claim: "daemon-reload keeps the listening descriptors and their queue",
		See: "systemctl(1) daemon-reload",
	}, func(g *guest) {
		g.start("kept.socket")
		c := g.dial("/run/kept.sock")
		c.send("hello")
		invocation := g.show("kept.socket", "InvocationID")
		g.DaemonReload(g.t)
		g.is("InvocationID", g.show("kept.socket", "InvocationID"), invocation)
		g.WriteFile(g.t, "/run/open", nil, 0o644)
		g.is("answer", c.get(), "hello")
	})
}

func TestReexecKeeps(t *testing.T) {
	conform(t, row.Row{
		ID: "reexec-keeps", Claim: "daemon-reexec keeps the listening descriptors and their queue",
		See: "systemctl(1) daemon-reexec",
	}, func(g *guest) {
		g.start("kept.socket")
		c := g.dial("/run/kept.sock")
		c.send("hello")
		g.run("systemctl", "daemon-reexec")
		g.is("state", g.show("kept.socket", "ActiveState"), "active")
		g.WriteFile(g.t, "/run/open", nil, 0o644)
		g.is("answer", c.get(), "hello")
	})
}

func TestStopOrder(t *testing.T) {
	conform(t, row.Row{
		ID: "stop-order", Claim: "stopping the service leaves the socket listening, and stopping the socket leaves the service serving",
		See: "systemd.socket(5)",
	}, func(g *guest) {
		g.start("order.socket")
		g.dial("/run/order.sock").report()
		g.Unit("order.service").Stop(g.t)
		g.is("socket without the service", g.show("order.socket", "ActiveState", "SubState"), "active listening")
		c := g.dial("/run/order.sock")
		c.report()
		g.Unit("order.socket").Stop(g.t)
		g.is("socket and service", g.show("order.socket", "ActiveState")+" "+g.show("order.service", "ActiveState"), "inactive active")
		g.is("answer to the client", c.ask("hello"), "hello")
		g.is("a new client is served over the path, which stays", g.dial("/run/order.sock").ask("hello"), "hello")
	})
}

func TestIdle(t *testing.T) {
	conform(t, row.Row{
		ID: "idle", Claim: "a service that exits when idle is started again by the next client, on the same socket",
		See: "systemd.socket(5)",
	}, func(g *guest) {
		g.start("idle.socket")
		invocation := g.show("idle.socket", "InvocationID")
		first := g.dial("/run/idle.sock").report().PID
		g.state("idle.service", "inactive")
		second := g.dial("/run/idle.sock").report().PID
		g.is("two processes", first != second, true)
		g.is("InvocationID of the socket", g.show("idle.socket", "InvocationID"), invocation)
	})
}

func TestNotify(t *testing.T) {
	conform(t, row.Row{
		ID: "notify", Claim: "a client of a Type=notify service waits until READY=1, while the service is activating",
		See: "systemd.service(5) Type=",
	}, func(g *guest) {
		g.start("ready.socket")
		c := g.dial("/run/ready.sock")
		c.send("hello")
		g.state("ready.service", "start")
		g.is("states before READY=1", g.show("ready.service", "ActiveState")+" "+g.show("ready.socket", "SubState"), "activating running")
		g.WriteFile(g.t, "/run/open", nil, 0o644)
		g.is("answer", c.get(), "hello")
		g.is("state", g.show("ready.service", "ActiveState", "SubState"), "active running")
	})
}

func TestFlushPending(t *testing.T) {
	conform(t, row.Row{
		ID: "flush-pending", Claim: "FlushPending=yes drops the connections that a service leaves in the queue when it exits",
		See: "systemd.socket(5) FlushPending=",
	}, func(g *guest) {
		g.start("flush.socket")
		c := g.dial("/run/flush.sock")
		g.state("flush.service", "running")
		g.WriteFile(g.t, "/run/open", nil, 0o644)
		g.is("the client in the queue", c.get(), "EOF")
		g.state("flush.socket", "listening")
		g.is("the service is not started for it again", g.show("flush.service", "ActiveState"), "inactive")
	})
}

func TestRefuseActive(t *testing.T) {
	conform(t, row.Row{
		ID: "refuse-active", Claim: "a socket unit does not start while its service runs without it",
		See: "systemd.socket(5)",
	}, func(g *guest) {
		g.start("busy.service")
		g.startFails("busy.socket", "inactive success")
		g.logs("busy.socket", "Socket service busy.service already active, refusing.")
	})
}

func TestReset(t *testing.T) {
	conform(t, row.Row{
		ID: "rst", Claim: "a client that resets its connection at once leaves the socket listening and no failed instance",
		See: "systemd.socket(5) Accept=",
	}, func(g *guest) {
		g.start("reset.socket")
		g.run("probe", "dial", "-reset", "-times=5", "tcp", "127.0.0.1:9112")
		g.Unit("reset.socket").WaitProperty(g.t, "NConnections", 0)
		g.is("state of the socket", g.show("reset.socket", "ActiveState", "SubState", "Result"), "active listening success")
		g.instances("reset@.service", 0) // which would be there if they had failed
		g.is("answer to the next client", g.dial("127.0.0.1:9112").ask("hello"), "hello")
	})
}
