package conformance

import (
	"fmt"
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/probe"
	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestInherit(t *testing.T) {
	conform(t, row.Row{
		ID: "inherit", Claim: "with Accept=no one service inherits all listeners from descriptor 3 on",
		See: "sd_listen_fds(3)",
	}, func(g *guest) {
		g.start("inherit.socket")
		g.is("states before a client", g.show("inherit.socket", "ActiveState", "SubState"), "active listening")
		r := g.dial("127.0.0.1:9101").report()
		g.is("LISTEN_FDS", r.Env["LISTEN_FDS"], "2")
		g.is("LISTEN_PID is the service's process", r.Env["LISTEN_PID"], fmt.Sprint(r.PID))
		g.is("descriptors that listen", []bool{r.FDs[1].Listens, r.FDs[2].Listens}, []bool{true, true})
		g.is("process that serves the other listener", g.dial("/run/inherit.sock").report().PID, r.PID)
		g.is("SubState with the service", g.show("inherit.socket", "SubState"), "running")
	})
}

func TestDescriptorOrder(t *testing.T) {
	conform(t, row.Row{
		ID: "fd-order", Claim: "descriptors come in the order of the unit; those of several socket units are told apart by name",
		See: "systemd.socket(5) ListenStream=",
	}, func(g *guest) {
		g.start("first.socket", "second.socket")
		seen := map[string][]string{}
		for _, fd := range g.dial("/run/order/b").report().FDs[1:] {
			seen[fd.Name] = append(seen[fd.Name], fd.Local)
		}
		g.is("addresses by name", seen, map[string][]string{
			"first": {"/run/order/c", "127.0.0.1:9102", "/run/order/a"}, "second": {"/run/order/b"},
		})
	})
}

func TestDescriptorNames(t *testing.T) {
	conform(t, row.Row{
		ID: "fd-names", Claim: "all listeners of a socket unit have the one name of FileDescriptorName=",
		See: "systemd.socket(5) FileDescriptorName=",
	}, func(g *guest) {
		g.start("named.socket")
		g.is("LISTEN_FDNAMES", g.dial("/run/named.sock").report().Env["LISTEN_FDNAMES"], "web:web")
	})
}

func TestDefaultDescriptorNames(t *testing.T) {
	conform(t, row.Row{
		ID: "fd-names-default", Claim: "without FileDescriptorName= the name is that of the unit, and with Accept=yes it is connection",
		See: "systemd.socket(5) FileDescriptorName=",
	}, func(g *guest) {
		g.start("unnamed.socket", "each.socket")
		g.is("Accept=no", g.dial("/run/unnamed.sock").report().Env["LISTEN_FDNAMES"], "unnamed.socket")
		g.is("Accept=yes", g.dial("/run/each.sock").report().Env["LISTEN_FDNAMES"], "connection")
	})
}

func TestDescriptorNamesOfConnections(t *testing.T) {
	conform(t, row.Row{
		ID: "fd-names-accept", Claim: "FileDescriptorName= counts with Accept=yes too",
		See: "systemd.socket(5) FileDescriptorName=",
	}, func(g *guest) {
		g.start("each.socket")
		g.is("LISTEN_FDNAMES", g.dial("/run/each.sock").report().Env["LISTEN_FDNAMES"], "web", before(257, "connection"))
	})
}

func TestListenPIDFDID(t *testing.T) {
	conform(t, row.Row{
		ID: "listen-pidfdid", Claim: "LISTEN_PIDFDID identifies the process for which the descriptors are",
		Since: 259, See: "sd_listen_fds(3)",
	}, func(g *guest) {
		g.start("id.socket")
		r := g.dial("/run/id.sock").report()
		g.is("LISTEN_PIDFDID is a number", isNumber(r.Env["LISTEN_PIDFDID"]), true)
	})
}

func TestListenPID(t *testing.T) {
	conform(t, row.Row{
		ID: "listen-pid", Claim: "a program below a shell has the shell's LISTEN_PID and so no listener; its client triggers it up to the start limit",
		See: "sd_listen_fds(3)",
	}, func(g *guest) {
		g.fails("shell.service")
		g.start("shell.socket")
		c := g.dial("/run/shell.sock")
		g.waitFailed("shell.socket", "service-start-limit-hit")
		g.logs("shell.service", "started with LISTEN_FDS=1")
		g.logs("shell.service", "no sockets were passed")
		g.is("the client", c.get(), "EOF")
	})
}

// descriptor returns the first descriptor that a probe was passed.
func descriptor(r probe.Report) probe.FD { return r.FDs[1] }
