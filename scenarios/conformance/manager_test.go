package conformance

import (
	"strings"
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestEnable(t *testing.T) {
	conform(t, row.Row{
		ID: "enable", Claim: "enabling a socket makes a symbolic link in sockets.target.wants, and starts nothing",
		See: "systemctl(1) enable",
	}, func(g *guest) {
		out, _ := g.exit("systemctl", "enable", "plain.socket")
		g.is("the link", g.run("readlink", "/etc/systemd/system/sockets.target.wants/plain.socket"), "/etc/systemd/system/plain.socket")
		g.is("state", g.show("plain.socket", "ActiveState", "UnitFileState"), "inactive enabled")
		g.is("text", strings.TrimSpace(out), "Created symlink '/etc/systemd/system/sockets.target.wants/plain.socket' → '/etc/systemd/system/plain.socket'.",
			before(257, "Created symlink /etc/systemd/system/sockets.target.wants/plain.socket → /etc/systemd/system/plain.socket."))
	})
}

func TestEnableTemplate(t *testing.T) {
	conform(t, row.Row{
		ID: "enable-template", Claim: "enabling a template without an instance makes no link and is an error that says so",
		See: "systemctl(1) enable",
	}, func(g *guest) {
		out, status := g.exit("systemctl", "enable", "each@.service")
		g.is("exit status", status, 1, before(252, 0))
		g.is("text", strings.TrimSpace(out), "Failed to enable unit: Refusing to operate on template unit each@.service when destination unit multi-user.target is a non-template unit",
			before(252, ""), before(257, "Failed to enable unit: Destination unit multi-user.target is a non-template unit."))
		g.is("links", g.exists("/etc/systemd/system/multi-user.target.wants/each@.service"), false)
	})
}

func TestDeaf(t *testing.T) {
	conform(t, row.Row{
		ID: "deaf", Claim: "a ListenStream= that is changed under a running socket and reloaded leaves the unit listening without a descriptor; a restart cures it",
		See: "systemctl(1) daemon-reload",
	}, func(g *guest) {
		g.start("deaf.socket")
		g.WriteFile(g.t, "/etc/systemd/system/deaf.socket", []byte("[Socket]\nListenStream=127.0.0.1:9145\n"), 0o644)
		g.DaemonReload(g.t)
		g.is("state", g.show("deaf.socket", "ActiveState", "SubState", "Listen"), "active listening 127.0.0.1:9145 (Stream)")
		g.is("clients of the old and of the new address are refused", []bool{g.refused("127.0.0.1:9143"), g.refused("127.0.0.1:9145")}, []bool{true, true})
		g.is("text", g.said("deaf.socket", "no socket file descriptors are open", "no open socket file descriptor"),
			"no socket file descriptors are open", before(262, "no open socket file descriptor"))
		g.Unit("deaf.socket").Restart(g.t)
		g.is("client after a restart", g.dial("127.0.0.1:9145").ask("hello"), "hello")
	})
}

func TestDropInAppends(t *testing.T) {
	conform(t, row.Row{
		ID: "dropin-append", Claim: "ListenStream= in a drop-in adds an address, and an empty one before it replaces all",
		See: "systemd.socket(5) ListenStream=",
	}, func(g *guest) {
		g.start("more.socket", "other.socket")
		g.is("added", g.show("more.socket", "Listen"), "/run/more.sock (Stream)\n/run/added.sock (Stream)")
		g.is("replaced", g.show("other.socket", "Listen"), "/run/new.sock (Stream)")
	})
}

func TestDropInConflict(t *testing.T) {
	conform(t, row.Row{
		ID: "dropin-conflict", Claim: "a drop-in that repeats the address conflicts with the unit itself: the socket fails",
		See: "systemd.socket(5) ListenStream=",
	}, func(g *guest) {
		g.startFails("twice.socket", "failed resources")
		g.logs("twice.socket", "Address already in use")
	})
}

func TestConflicts(t *testing.T) {
	conform(t, row.Row{
		ID: "conflicts", Claim: "a connection stops a unit that conflicts with the service",
		See: "systemd.unit(5) Conflicts=",
	}, func(g *guest) {
		g.start("busy.service", "later.socket")
		g.is("answer", g.dial("/run/later.sock").ask("hello"), "hello")
		g.is("state of the other unit", g.show("busy.service", "ActiveState"), "inactive")
	})
}

func TestDeferTrigger(t *testing.T) {
	conform(t, row.Row{
		ID: "defer-trigger", Claim: "DeferTrigger=patient holds the activation while a conflicting unit runs, and serves the client afterwards",
		Since: 258, See: "systemd.socket(5) DeferTrigger=",
	}, func(g *guest) {
		g.start("busy.service", "later.socket")
		c := g.dial("/run/later.sock")
		g.state("later.socket", "deferred")
		g.is("state of the other unit", g.show("busy.service", "ActiveState"), "active")
		g.Unit("busy.service").Stop(g.t)
		g.is("answer", c.ask("hello"), "hello")
	})
}

func TestPassDescriptorsToCommands(t *testing.T) {
	conform(t, row.Row{
		ID: "pass-fds-exec", Claim: "PassFileDescriptorsToExec=yes passes the listeners to ExecStartPost=",
		Since: 256, See: "systemd.socket(5) PassFileDescriptorsToExec=",
	}, func(g *guest) {
		g.start("exec.socket")
		g.waitLog("exec.socket", "post has 1 web")
	})
}

func TestSocketCommands(t *testing.T) {
	conform(t, row.Row{
		ID: "exec-commands", Claim: "ExecStartPre= runs before the path is there and ExecStartPost= after",
		See: "systemd.socket(5) ExecStartPre=",
	}, func(g *guest) {
		g.is("start", g.tryStart("commands.socket"), "done")
		g.is("state", g.show("commands.socket", "SubState"), "listening")
	})
}

func TestSocketCommandFails(t *testing.T) {
	conform(t, row.Row{
		ID: "exec-fails", Claim: "a failed ExecStartPost= fails the socket with exit-code and closes it",
		See: "systemd.socket(5) ExecStartPost=",
	}, func(g *guest) {
		g.startFails("commands.socket", "failed exit-code")
		g.is("a client is refused", g.refused("/run/commands.sock"), true)
	})
}

func TestSocketCommandTimeout(t *testing.T) {
	conform(t, row.Row{
		ID: "exec-timeout", Claim: "a command of a socket unit that runs longer than TimeoutSec= fails the socket with timeout",
		See: "systemd.socket(5) TimeoutSec=",
	}, func(g *guest) {
		g.startFails("slow.socket", "failed timeout")
	})
}

func TestDeferTriggerYes(t *testing.T) {
	conform(t, row.Row{
		ID: "defer-trigger-yes", Claim: "DeferTrigger=yes fails the socket when no job is left and the conflict remains",
		Since: 258, See: "systemd.socket(5) DeferTrigger=",
	}, func(g *guest) {
		g.start("busy.service", "later.socket")
		g.dial("/run/later.sock")
		g.waitFailed("later.socket", "resources")
		g.is("state of the other unit", g.show("busy.service", "ActiveState"), "active")
	})
}

func TestDeferTriggerMax(t *testing.T) {
	conform(t, row.Row{
		ID: "defer-trigger-max", Claim: "DeferTriggerMaxSec= fails a socket that was deferred that long",
		Since: 258, See: "systemd.socket(5) DeferTriggerMaxSec=",
	}, func(g *guest) {
		g.start("busy.service", "later.socket")
		g.dial("/run/later.sock")
		g.waitFailed("later.socket", "timeout")
	})
}

func TestSymlinksOfTwo(t *testing.T) {
	conform(t, row.Row{
		ID: "symlinks-one", Claim: "Symlinks= with two paths to listen on is a bad setting",
		See: "systemd.socket(5) Symlinks=",
	}, func(g *guest) {
		g.badSetting("links.socket", "symlinks set but none or more than one node")
	})
}

func TestUnknownUser(t *testing.T) {
	conform(t, row.Row{
		ID: "user-unknown", Claim: "a socket with a SocketUser= that does not exist fails",
		See: "systemd.socket(5) SocketUser=",
	}, func(g *guest) {
		g.startFails("unknown.socket", "failed exit-code")
		g.logs("unknown.socket", "nobody-of-this-name")
	})
}

func TestListeningText(t *testing.T) {
	conform(t, row.Row{
		ID: "listening-text", Claim: "the journal has the name and the description of a socket that listens",
		See: "systemd.unit(5) Description=",
	}, func(g *guest) {
		g.start("said.socket")
		g.is("text", strings.TrimSpace(g.log("said.socket")), "Listening on said.socket - What is said.", before(250, "Listening on What is said."))
	})
}
