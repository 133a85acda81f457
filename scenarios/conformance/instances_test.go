package conformance

import (
	"strconv"
	"strings"
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestInstance(t *testing.T) {
	conform(t, row.Row{
		ID: "instance", Claim: "with Accept=yes each connection has an instance of the template, which is gone after it",
		See: "systemd.socket(5) Accept=",
	}, func(g *guest) {
		g.start("each.socket")
		a, b := g.dial("127.0.0.1:9104"), g.dial("127.0.0.1:9104")
		g.is("one process for each", a.report().PID == b.report().PID, false)
		g.instances("each@.service", 2)
		g.is("NAccepted and NConnections", g.show("each.socket", "NAccepted", "NConnections", "SubState"), "2 2 listening")
		a.Close()
		b.Close()
		g.instances("each@.service", 0)
		g.is("NAccepted and NConnections after both", g.show("each.socket", "NAccepted", "NConnections"), "2 0")
	})
}

func TestInstanceName(t *testing.T) {
	conform(t, row.Row{
		ID: "instance-name", Claim: "the instance's name begins with the number of the connection, and has the peer's address, or its PID and UID",
		See: "systemd.socket(5) Accept=",
	}, func(g *guest) {
		g.start("tcp.socket", "unix.socket")
		a, b, u := g.dial("127.0.0.1:9105"), g.dial("127.0.0.1:9105"), g.dial("/run/unix.sock")
		port := a.report().Env["REMOTE_PORT"]
		b.report()
		names := g.instances("tcp@.service", 2)
		g.is("numbers", []bool{strings.HasPrefix(names[0], "tcp@0-"), strings.HasPrefix(names[1], "tcp@1-")}, []bool{true, true})
		g.is("the first name ends with both addresses", strings.HasSuffix(names[0], "-127.0.0.1:9105-127.0.0.1:"+port+".service"), true)
		uid, pid, _ := strings.Cut(u.report().Cred, " ")
		name := g.instances("unix@.service", 1)[0]
		g.is("the number for AF_UNIX", strings.HasPrefix(name, "unix@0-"), true)
		g.is("the name for AF_UNIX has the PID", strings.Contains(name, "-"+pid), true)
		g.is("the name for AF_UNIX ends with the UID", strings.HasSuffix(name, "-"+uid+".service"), true)
	})
}

func TestInstanceCookie(t *testing.T) {
	conform(t, row.Row{
		ID: "instance-cookie", Claim: "the instance's name has the connection's socket cookie after its number",
		Since: 258, See: "systemd.socket(5) Accept=",
	}, func(g *guest) {
		g.start("tcp.socket")
		cookie := descriptor(g.dial("127.0.0.1:9105").report()).Text["SO_COOKIE"]
		name := g.instances("tcp@.service", 1)[0]
		g.is("the name begins with number and cookie", strings.HasPrefix(name, "tcp@0-"+cookie+"-"), true)
	})
}

func TestSocketCookie(t *testing.T) {
	conform(t, row.Row{
		ID: "so-cookie", Claim: "an instance has the socket cookie of its connection in SO_COOKIE",
		Since: 258, See: "systemd.exec(5) $SO_COOKIE",
	}, func(g *guest) {
		g.start("tcp.socket")
		r := g.dial("127.0.0.1:9106").report()
		g.is("SO_COOKIE", r.Env["SO_COOKIE"], descriptor(r).Text["SO_COOKIE"])
	})
}

func TestRemoteAddress(t *testing.T) {
	conform(t, row.Row{
		ID: "remote-addr", Claim: "REMOTE_ADDR and REMOTE_PORT name the client, and an IPv4 client of an IPv6 listener by its IPv4 address",
		See: "systemd.exec(5) $REMOTE_ADDR",
	}, func(g *guest) {
		g.start("tcp.socket")
		v4, v6 := g.dial("127.0.0.1:9107").report().Env, g.dial("[::1]:9107").report().Env
		g.is("IPv4", v4["REMOTE_ADDR"], "127.0.0.1")
		g.is("IPv6", v6["REMOTE_ADDR"], "::1")
		g.is("ports are numbers", []bool{isNumber(v4["REMOTE_PORT"]), isNumber(v6["REMOTE_PORT"])}, []bool{true, true})
	})
}

func TestRemoteAddressUnix(t *testing.T) {
	conform(t, row.Row{
		ID: "remote-addr-unix", Claim: "REMOTE_ADDR has the address of an AF_UNIX client that has one",
		See: "systemd.exec(5) $REMOTE_ADDR",
	}, func(g *guest) {
		g.start("unix.socket")
		named := g.run("probe", "dial", "-bind=/run/client.sock", "unix", "/run/unix.sock", "env REMOTE_ADDR")
		g.is("a client with a path", named, "/run/client.sock", before(257, "unset"))
		g.is("a client without one", g.dial("/run/unix.sock").ask("env REMOTE_ADDR"), "unset")
		g.is("its REMOTE_PORT", g.dial("/run/unix.sock").ask("env REMOTE_PORT"), "unset")
	})
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 64)
	return err == nil
}

func TestInstanceSlice(t *testing.T) {
	conform(t, row.Row{
		ID: "instance-slice", Claim: "instances are in a slice of their template",
		See: "systemd.resource-control(5) Slice=",
	}, func(g *guest) {
		g.start("each.socket")
		g.dial("/run/each.sock").report()
		unit := g.instances("each@.service", 1)[0]
		g.is("Slice", g.show(unit, "Slice"), "system-each.slice")
	})
}

func TestFailedInstance(t *testing.T) {
	conform(t, row.Row{
		ID: "instance-failed", Claim: "a failed instance stays loaded, unless its CollectMode= is inactive-or-failed",
		See: "systemd.unit(5) CollectMode=",
	}, func(g *guest) {
		g.fails("gone@.service")
		g.start("kept.socket", "gone.socket")
		kept, gone := g.dial("/run/kept.sock"), g.dial("/run/gone.sock")
		g.is("the clients", []string{kept.ask("exit 3"), gone.ask("exit 3")}, []string{"EOF", "EOF"})
		unit := g.instances("kept@.service", 1)[0]
		g.state(unit, "failed")
		g.is("Result and status", g.show(unit, "Result", "ExecMainStatus"), "exit-code 3")
		g.instances("gone@.service", 0)
	})
}

func TestStopOfTheSocket(t *testing.T) {
	conform(t, row.Row{
		ID: "stop-instances", Claim: "a stop of a socket with Accept=yes leaves its instances serving",
		See: "systemd.socket(5) Accept=",
	}, func(g *guest) {
		g.start("each.socket")
		c := g.dial("/run/each.sock")
		c.report()
		g.Unit("each.socket").Stop(g.t)
		g.is("socket", g.show("each.socket", "ActiveState", "NConnections"), "inactive 1")
		g.is("answer", c.ask("hello"), "hello")
	})
}

func TestCountersOverReload(t *testing.T) {
	conform(t, row.Row{
		ID: "counters-reload", Claim: "NAccepted and NConnections stay over a daemon-reload",
		See: "systemctl(1) daemon-reload",
	}, func(g *guest) {
		g.start("count.socket")
		c := g.dial("/run/count.sock")
		c.report()
		g.DaemonReload(g.t)
		g.is("counters", g.show("count.socket", "NAccepted", "NConnections"), "1 1")
		g.is("answer", c.ask("hello"), "hello")
	})
}

func TestCountersOverRestart(t *testing.T) {
	conform(t, row.Row{
		ID: "counters-restart", Claim: "NAccepted and NConnections stay over a restart of the socket",
		See: "systemctl(1) restart",
	}, func(g *guest) {
		g.start("count.socket")
		g.dial("/run/count.sock").report()
		g.Unit("count.socket").Restart(g.t)
		g.is("counters", g.show("count.socket", "NAccepted", "NConnections"), "1 1")
	})
}

func TestServiceWithAccept(t *testing.T) {
	conform(t, row.Row{
		ID: "service-accept", Claim: "Service= with Accept=yes is a bad setting",
		See: "systemd.socket(5) Service=",
	}, func(g *guest) {
		g.badSetting("named.socket", "Explicit service configuration for accepting socket units not supported")
	})
}

func TestMaxConnectionsWithoutAccept(t *testing.T) {
	conform(t, row.Row{
		ID: "max-conn-accept-no", Claim: "MaxConnections= does nothing with Accept=no",
		See: "systemd.socket(5) MaxConnections=",
	}, func(g *guest) {
		g.start("few.socket")
		a, b := g.dial("/run/few.sock"), g.dial("/run/few.sock")
		g.is("answers", []string{a.ask("one"), b.ask("two")}, []string{"one", "two"})
		g.is("counters", g.show("few.socket", "NAccepted", "NConnections", "NRefused"), "0 0 0")
	})
}

func TestInstanceDescription(t *testing.T) {
	conform(t, row.Row{
		ID: "instance-description", Claim: "the description of an instance ends with the address of its client",
		See: "systemd.socket(5) Accept=",
	}, func(g *guest) {
		g.start("each.socket")
		port := g.dial("127.0.0.1:9155").report().Env["REMOTE_PORT"]
		unit := g.instances("each@.service", 1)[0]
		g.is("Description", strings.ReplaceAll(g.show(unit, "Description"), port, "PORT"), "One client (127.0.0.1:PORT)")
	})
}
