package conformance

import (
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestIPv6(t *testing.T) {
	conform(t, row.Row{
		ID: "endpoints-tcp6", Claim: "BindIPv6Only=both takes IPv4 clients on an IPv6 address, and ipv6-only does not",
		See: "systemd.socket(5) BindIPv6Only=",
	}, func(g *guest) {
		g.start("both.socket", "only.socket")
		g.is("Listen", g.show("both.socket", "Listen"), "[::]:9121 (Stream)")
		g.is("IPv4 client of both", g.dial("127.0.0.1:9121").ask("hello"), "hello")
		g.is("IPv6 client of both", g.dial("[::1]:9121").ask("hello"), "hello")
		g.is("IPv4 client of ipv6-only is refused", g.refused("127.0.0.1:9122"), true)
		g.is("IPv6 client of ipv6-only", g.dial("[::1]:9122").ask("hello"), "hello")
	})
}

func TestPort(t *testing.T) {
	conform(t, row.Row{
		ID: "endpoint-port", Claim: "a port without an address listens on all addresses, IPv6 and IPv4",
		See: "systemd.socket(5) ListenStream=",
	}, func(g *guest) {
		g.start("port.socket")
		g.is("Listen", g.show("port.socket", "Listen"), "[::]:9123 (Stream)")
		g.is("IPv4 client", g.dial("127.0.0.1:9123").ask("hello"), "hello")
		g.is("IPv6 client", g.dial("[::1]:9123").ask("hello"), "hello")
	})
}

func TestUnixPath(t *testing.T) {
	conform(t, row.Row{
		ID: "endpoints-unix", Claim: "SocketMode=, SocketUser=, SocketGroup=, DirectoryMode= and Symlinks= make the path, and RemoveOnStop= removes it and its links",
		See: "systemd.socket(5) RemoveOnStop=",
	}, func(g *guest) {
		g.start("path.socket")
		g.is("the socket", g.stat("/run/made/path.sock"), "socket 660 daemon games")
		g.is("its directory", g.stat("/run/made"), "directory 711 root root")
		g.is("its link", g.run("readlink", "/run/alias.sock"), "/run/made/path.sock")
		g.is("client over the link", g.dial("/run/alias.sock").ask("hello"), "hello")
		g.Unit("path.service").Stop(g.t)
		g.Unit("path.socket").Stop(g.t)
		g.is("socket and link after the stop", []bool{g.exists("/run/made/path.sock"), g.exists("/run/alias.sock")}, []bool{false, false})
	})
}

func TestPathStays(t *testing.T) {
	conform(t, row.Row{
		ID: "remove-on-stop", Claim: "without RemoveOnStop= the path stays after a stop, refuses clients, and is taken over by the next start",
		See: "systemd.socket(5) RemoveOnStop=",
	}, func(g *guest) {
		g.start("stays.socket")
		g.Unit("stays.socket").Stop(g.t)
		g.is("path after the stop", g.stat("/run/stays.sock"), "socket 666 root root")
		g.is("a client is refused", g.refused("/run/stays.sock"), true)
		g.is("next start", g.tryStart("stays.socket"), "done")
		g.is("client after it", g.dial("/run/stays.sock").ask("hello"), "hello")
	})
}

func TestAbstract(t *testing.T) {
	conform(t, row.Row{
		ID: "endpoint-abstract", Claim: "an address with @ is in the abstract namespace of AF_UNIX and has no path",
		See: "systemd.socket(5) ListenStream=",
	}, func(g *guest) {
		g.start("abstract.socket")
		g.is("Listen", g.show("abstract.socket", "Listen"), "@conformance (Stream)")
		r := g.dial("@conformance").report()
		g.is("address of the listener", descriptor(r).Local, "@conformance")
	})
}

func TestUserOfSocket(t *testing.T) {
	conform(t, row.Row{
		ID: "user-owner", Claim: "User= in [Socket] is for its commands and does not own the path; root does without SocketUser=",
		See: "systemd.socket(5) SocketUser=",
	}, func(g *guest) {
		g.start("owner.socket")
		g.is("the socket", g.stat("/run/owner.sock"), "socket 600 root root")
	})
}

func TestDatagram(t *testing.T) {
	conform(t, row.Row{
		ID: "datagram", Claim: "ListenDatagram= passes UDP and AF_UNIX datagrams, the first one included, to one service",
		See: "systemd.socket(5) ListenDatagram=",
	}, func(g *guest) {
		g.start("datagram.socket")
		g.is("answer over UDP", g.run("probe", "dial", "udp", "127.0.0.1:9124", "one", "two"), "one\ntwo")
		g.is("answer over AF_UNIX", g.run("probe", "dial", "unixgram", "/run/datagram.sock", "three"), "three")
		g.is("sockets", g.show("datagram.socket", "Listen", "SubState"), "127.0.0.1:9124 (Datagram)\n/run/datagram.sock (Datagram) running")
	})
}

func TestDatagramAccept(t *testing.T) {
	conform(t, row.Row{
		ID: "datagram-accept", Claim: "a datagram socket with Accept=yes is refused as a bad setting, though the man page says that the value is ignored",
		See: "systemd.socket(5) Accept=",
	}, func(g *guest) {
		g.badSetting("datagram.socket", "Unit configured for accepting sockets, but sockets are non-accepting. Refusing.")
	})
}

func TestSequentialPacket(t *testing.T) {
	conform(t, row.Row{
		ID: "seqpacket", Claim: "ListenSequentialPacket= keeps the boundaries of messages",
		See: "systemd.socket(5) ListenSequentialPacket=",
	}, func(g *guest) {
		g.start("packets.socket")
		g.is("answers", g.run("probe", "dial", "unixpacket", "/run/packets.sock", "one", "two"), "one\ntwo")
		g.is("Listen", g.show("packets.socket", "Listen"), "/run/packets.sock (SequentialPacket)")
	})
}

func TestFIFO(t *testing.T) {
	conform(t, row.Row{
		ID: "fifo", Claim: "ListenFIFO= makes a FIFO with SocketMode= and starts the service for a writer",
		See: "systemd.socket(5) ListenFIFO=",
	}, func(g *guest) {
		g.start("fifo.socket")
		g.is("the FIFO", g.stat("/run/test.fifo"), "fifo 620 root root")
		g.run("sh", "-c", "echo hello > /run/test.fifo")
		g.waitLog("fifo.service", `received "hello"`)
		g.is("Listen and SubState", g.show("fifo.socket", "Listen", "SubState"), "/run/test.fifo (FIFO) running")
	})
}

func TestMessageQueue(t *testing.T) {
	conform(t, row.Row{
		ID: "message-queue", Claim: "SocketUser= owns a POSIX message queue",
		See: "systemd.socket(5) ListenMessageQueue=",
	}, func(g *guest) {
		g.start("queue.socket")
		g.run("mkdir", "/run/queues")
		g.run("mount", "-t", "mqueue", "none", "/run/queues")
		g.is("the queue", g.stat("/run/queues/conformance"), "regular file 600 daemon daemon", before(257, "regular file 600 root root"))
	})
}

func TestMessageQueueSize(t *testing.T) {
	conform(t, row.Row{
		ID: "message-queue-size", Claim: "MessageQueueMessageSize= takes a suffix such as K",
		See: "systemd.socket(5) MessageQueueMaxMessages=",
	}, func(g *guest) {
		g.start("queue.socket")
		g.is("MessageQueueMessageSize", g.show("queue.socket", "MessageQueueMessageSize"), "1024", before(262, "0"))
	})
}

func TestSpecial(t *testing.T) {
	conform(t, row.Row{
		ID: "special", Claim: "ListenSpecial= opens a file and passes it when it can be read",
		See: "systemd.socket(5) ListenSpecial=",
	}, func(g *guest) {
		g.start("special.socket")
		g.is("Listen and state", g.show("special.socket", "Listen", "ActiveState"), "/proc/self/mountinfo (Special) active")
	})
}

func TestNetlink(t *testing.T) {
	conform(t, row.Row{
		ID: "netlink", Claim: "ListenNetlink= listens to a netlink family and starts the service for a message",
		See: "systemd.socket(5) ListenNetlink=",
	}, func(g *guest) {
		g.start("netlink.socket")
		g.run("sh", "-c", "echo change > /sys/class/net/lo/uevent")
		g.state("netlink.service", "running")
	})
}

func TestMPTCP(t *testing.T) {
	conform(t, row.Row{
		ID: "mptcp", Claim: "SocketProtocol=mptcp makes a listener of MPTCP, which serves TCP clients too",
		Since: 257, See: "systemd.socket(5) SocketProtocol=",
	}, func(g *guest) {
		g.start("mptcp.socket")
		const mptcp = 262
		g.is("protocol", descriptor(g.dial("127.0.0.1:9125").report()).Options["SO_PROTOCOL"], mptcp)
	})
}

func TestBindToDevice(t *testing.T) {
	conform(t, row.Row{
		ID: "bind-device", Claim: "BindToDevice=lo serves clients over lo, and needs no device unit",
		See: "systemd.socket(5) BindToDevice=",
	}, func(g *guest) {
		g.start("device.socket")
		g.is("client over lo", g.dial("127.0.0.1:9131").ask("hello"), "hello")
		g.is("BindsTo", g.show("device.socket", "BindsTo"), "")
	})
}
