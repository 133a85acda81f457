package conformance

import (
	"strings"
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestSandbox(t *testing.T) {
	conform(t, row.Row{
		ID: "sandbox", Claim: "a service without network, address families, capabilities and user of its own serves the passed socket, and can open none",
		See: "systemd.exec(5) PrivateNetwork=",
	}, func(g *guest) {
		g.start("sandbox.socket")
		c := g.dial("127.0.0.1:9151")
		r := c.report()
		g.is("runs as root", r.UID == 0, false)
		g.is("own bind", c.ask("bind 127.0.0.1:0"), "listen tcp 127.0.0.1:0: socket: address family not supported by protocol")
	})
}

func TestSocketBindDeny(t *testing.T) {
	conform(t, row.Row{
		ID: "socket-bind-deny", Claim: "SocketBindDeny=any lets a service bind nothing, and the passed socket works",
		Since: 249, See: "systemd.resource-control(5) SocketBindAllow=",
	}, func(g *guest) {
		g.start("deny.socket")
		bpf := strings.Contains(g.run("systemctl", "--version"), "+BPF_FRAMEWORK")
		c := g.dial("127.0.0.1:9152")
		g.is("answer", c.ask("hello"), "hello")
		g.is("own bind", c.ask("bind 127.0.0.1:9160"), "listen tcp 127.0.0.1:9160: bind: operation not permitted", when(!bpf, "ok").because("built without BPF_FRAMEWORK"))
	})
}

func TestAddressFilter(t *testing.T) {
	conform(t, row.Row{
		ID: "ip-filter", Claim: "IPAddressDeny= of a service leaves the passed socket alone, and that of a socket unit closes it",
		See: "systemd.resource-control(5) IPAddressAllow=",
	}, func(g *guest) {
		g.start("open.socket", "closed.socket")
		g.is("client of the denied service", g.dial("127.0.0.1:9153").ask("hello"), "hello")
		_, status := g.exit("nc", "-z", "-w", "2", "127.0.0.1", "9154")
		g.is("exit status of a client of the denied socket", status, 1)
	})
}

func TestPeerCredentials(t *testing.T) {
	conform(t, row.Row{
		ID: "peer-cred", Claim: "SO_PEERCRED of an instance's AF_UNIX connection is the client's",
		See: "systemd.socket(5) Accept=",
	}, func(g *guest) {
		g.start("cred.socket")
		uid := g.run("id", "-u", "daemon")
		answer := g.runAs("daemon", "probe", "dial", "unix", "/run/cred.sock", "report")
		g.is("UID", strings.Contains(answer, `"Cred":"`+uid+" "), true)
	})
}

func TestPrivateNetworkOfSocket(t *testing.T) {
	conform(t, row.Row{
		ID: "private-network", Claim: "PrivateNetwork=yes in [Socket] listens in a network of its own, where clients of the host are refused",
		See: "systemd.socket(5)",
	}, func(g *guest) {
		g.start("apart.socket")
		g.is("state", g.show("apart.socket", "SubState", "Listen"), "listening 127.0.0.1:9156 (Stream)")
		g.is("a client is refused", g.refused("127.0.0.1:9156"), true)
	})
}
