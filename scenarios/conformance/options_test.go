package conformance

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/scenarios/conformance/internal/probe"
	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestSocketOptions(t *testing.T) {
	conform(t, row.Row{
		ID: "sockopts", Claim: "options of TCP and IP are set on the listener before its first client",
		See: "systemd.socket(5) KeepAlive=",
	}, func(g *guest) {
		g.start("options.socket")
		g.is("backlog", g.backlog("9126"), "7")
		c := g.dial("127.0.0.1:9126")
		fd := descriptor(c.report())
		seen := map[string]int{}
		want := map[string]int{
			"SO_REUSEPORT": 1, "TCP_NODELAY": 1, "SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 61, "TCP_KEEPINTVL": 17,
			"TCP_KEEPCNT": 5, "IP_FREEBIND": 1, "IP_TOS": 0x10, "IP_TTL": 33,
		}
		for name := range want {
			seen[name] = fd.Options[name]
		}
		g.is("options", seen, want)
		g.is("TCP_DEFER_ACCEPT is set", fd.Options["TCP_DEFER_ACCEPT"] >= 3, true)
		g.is("TCP_CONGESTION", fd.Text["TCP_CONGESTION"], "reno")
	})
}

func TestSocketOptionsOfConnections(t *testing.T) {
	conform(t, row.Row{
		ID: "sockopts-accept", Claim: "a connection of Accept=yes has the options of its listener",
		See: "systemd.socket(5) KeepAlive=",
	}, func(g *guest) {
		g.start("options.socket")
		o := descriptor(g.dial("127.0.0.1:9127").report()).Options
		g.is("TCP_NODELAY, SO_KEEPALIVE, TCP_KEEPIDLE", []int{o["TCP_NODELAY"], o["SO_KEEPALIVE"], o["TCP_KEEPIDLE"]}, []int{1, 1, 61})
	})
}

func TestSocketOptionsUnix(t *testing.T) {
	conform(t, row.Row{
		ID: "sockopts-unix", Claim: "PassCredentials=, Timestamping=, Priority= and ReceiveBuffer= are set on an AF_UNIX listener",
		See: "systemd.socket(5) PassCredentials=",
	}, func(g *guest) {
		g.start("options.socket")
		o := descriptor(g.dial("/run/options.sock").report()).Options
		g.is("SO_PASSCRED, SO_TIMESTAMPNS, SO_PRIORITY", []int{o["SO_PASSCRED"], o["SO_TIMESTAMPNS"], o["SO_PRIORITY"]}, []int{1, 1, 3})
		g.is("SO_RCVBUF is twice the setting", o["SO_RCVBUF"], 128<<10)
	})
}

func TestPassPIDFD(t *testing.T) {
	conform(t, row.Row{
		ID: "pass-pidfd", Claim: "PassPIDFD=yes sets SO_PASSPIDFD",
		Since: 258, See: "systemd.socket(5) PassPIDFD=",
	}, func(g *guest) {
		g.start("pidfd.socket")
		g.is("SO_PASSPIDFD", descriptor(g.dial("/run/pidfd.sock").report()).Options["SO_PASSPIDFD"], 1)
	})
}

func TestAcceptFileDescriptors(t *testing.T) {
	conform(t, row.Row{
		ID: "accept-fds", Claim: "AcceptFileDescriptors=no clears SO_PASSRIGHTS",
		Since: 258, See: "systemd.socket(5) AcceptFileDescriptors=",
	}, func(g *guest) {
		g.start("fds.socket")
		v, ok := descriptor(g.dial("/run/fds.sock").report()).Options["SO_PASSRIGHTS"]
		g.is("SO_PASSRIGHTS, and that the kernel has it", []any{v, ok}, []any{0, true})
	})
}

func TestExtendedAttributes(t *testing.T) {
	conform(t, row.Row{
		ID: "xattr", Claim: "XAttrEntryPoint= and XAttrListen= put extended attributes on the path and on the listener",
		Since: 262, See: "systemd.socket(5) XAttrEntryPoint=",
	}, func(g *guest) {
		g.start("xattr.socket")
		g.is("of the listener", descriptor(g.dial("/run/xattr.sock").report()).Text["user.test"], "listen")
		g.is("of the path", g.run("probe", "xattr", "/run/xattr.sock", "user.test"), "entry")
	})
}

func TestBacklog(t *testing.T) {
	conform(t, row.Row{
		ID: "backlog-cap", Claim: "the backlog is by default as large as net.core.somaxconn allows",
		See: "systemd.socket(5) Backlog=",
	}, func(g *guest) {
		g.start("capped.socket")
		g.is("backlog", g.backlog("9128"), g.run("cat", "/proc/sys/net/core/somaxconn"))
	})
}

func TestFreeBind(t *testing.T) {
	conform(t, row.Row{
		ID: "freebind", Claim: "FreeBind=yes binds an address that is not there yet; without it the socket fails and the journal names the address",
		See: "systemd.socket(5) FreeBind=",
	}, func(g *guest) {
		g.start("free.socket")
		g.startFails("bound.socket", "failed resources")
		g.logs("bound.socket", "192.0.2.1:9130")
		g.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
		g.is("client when the address is there", g.dial("192.0.2.1:9129").ask("hello"), "hello")
	})
}

func TestPassPacketInfo(t *testing.T) {
	conform(t, row.Row{
		ID: "pass-packet-info", Claim: "PassPacketInfo= and Broadcast= set IP_PKTINFO and SO_BROADCAST",
		See: "systemd.socket(5) PassPacketInfo=",
	}, func(g *guest) {
		g.start("info.socket")
		var r probe.Report
		require.NoError(g.t, json.Unmarshal([]byte(g.run("probe", "dial", "udp", "127.0.0.1:9132", "report")), &r))
		g.is("IP_PKTINFO, SO_BROADCAST", []int{descriptor(r).Options["IP_PKTINFO"], descriptor(r).Options["SO_BROADCAST"]}, []int{1, 1})
	})
}

// backlog returns the length of the queue of a TCP listener, the Send-Q of ss.
func (g *guest) backlog(port string) string {
	g.t.Helper()
	columns := strings.Fields(g.run("ss", "-Hltn", "sport = "+port))
	require.Greater(g.t, len(columns), 2, "columns of ss for port %s: %q", port, columns)
	return columns[2]
}
