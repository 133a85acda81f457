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
		g.instances("each@*.service", 2)
		g.is("NAccepted and NConnections", g.show("each.socket", "NAccepted", "NConnections", "SubState"), "2 2 listening")
		a.finish()
		b.finish()
		g.instances("each@*.service", 0)
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
		first := g.instances("tcp@0-*.service", 1)[0]
		g.is("the first name ends with both addresses", strings.HasSuffix(first, "-127.0.0.1:9105-127.0.0.1:"+port+".service"), true)
		b.report()
		g.instances("tcp@1-*.service", 1)
		uid, pid, _ := strings.Cut(u.report().Cred, " ")
		name := g.instances("unix@0-*.service", 1)[0]
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
		name := g.instances("tcp@*.service", 1)[0]
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
