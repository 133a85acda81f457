package conformance

import (
	"strings"
	"testing"
	"time"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestMaxConnections(t *testing.T) {
	conform(t, row.Row{
		ID: "max-conn", Claim: "MaxConnections= closes the next connection, counts it in NRefused, and logs it for the socket",
		See: "systemd.socket(5) MaxConnections=",
	}, func(g *guest) {
		g.start("few.socket")
		first := g.dial("/run/few.sock")
		first.report()
		g.dial("/run/few.sock").report()
		g.is("answer to the third client", g.dial("/run/few.sock").get(), "EOF")
		g.is("counters and state", g.show("few.socket", "NAccepted", "NConnections", "NRefused", "SubState"), "2 2 1 listening")
		g.logs("few.socket", "Too many incoming connections (2)")
		first.Close()
		g.Unit("few.socket").WaitProperty(g.t, "NConnections", 1)
		g.is("a client after one has left is served", g.dial("/run/few.sock").ask("hello"), "hello")
	})
}

func TestMaxConnectionsPerSource(t *testing.T) {
	conform(t, row.Row{
		ID: "max-per-source", Claim: "MaxConnectionsPerSource= refuses a second client of one address, and admits one of another",
		See: "systemd.socket(5) MaxConnectionsPerSource=",
	}, func(g *guest) {
		g.start("source.socket")
		g.dial("127.0.0.1:9111").report()
		g.is("second client of the address", g.dial("127.0.0.1:9111").get(), "EOF")
		g.is("client of another address", g.dial("[::1]:9111").ask("hello"), "hello")
		g.is("counters", g.show("source.socket", "NConnections", "NRefused"), "2 1")
		g.logs("source.socket", "from source 127.0.0.1, dropping connection.")
	})
}

func TestMaxConnectionsPerUser(t *testing.T) {
	conform(t, row.Row{
		ID: "max-per-source-unix", Claim: "MaxConnectionsPerSource= counts the connections of a user to an AF_UNIX socket",
		See: "systemd.socket(5) MaxConnectionsPerSource=",
	}, func(g *guest) {
		g.start("source.socket")
		g.dial("/run/source.sock").report()
		c := g.dial("/run/source.sock")
		c.Write([]byte("hello\n"))
		g.is("answer to the second client of the user", c.get(), "EOF", before(256, "hello"))
		g.is("answer to another user", g.runAs("daemon", "probe", "dial", "unix", "/run/source.sock", "hello"), "hello")
	})
}

func TestTriggerLimit(t *testing.T) {
	conform(t, row.Row{
		ID: "trigger-limit", Claim: "TriggerLimitBurst= activations in the interval fail the socket with trigger-limit-hit, and a start recovers it",
		See: "systemd.socket(5) TriggerLimitIntervalSec=",
	}, func(g *guest) {
		g.start("often.socket")
		c := g.dial("/run/often.sock")
		g.waitFailed("often.socket", "trigger-limit-hit")
		g.is("the waiting client", c.get(), "EOF")
		g.is("runs of the service", strings.Count(g.log("often.service"), "often.service: Succeeded.")+strings.Count(g.log("often.service"), "Deactivated successfully."), 3)
		g.logs("often.socket", "Trigger limit hit, refusing further activation.")
		g.is("start after that", g.tryStart("often.socket"), "done")
	})
}

func TestTriggerLimitOfConnections(t *testing.T) {
	conform(t, row.Row{
		ID: "trigger-limit-accept", Claim: "with Accept=yes each connection counts for TriggerLimitBurst=, and instances survive the failure of the socket",
		See: "systemd.socket(5) TriggerLimitIntervalSec=",
	}, func(g *guest) {
		g.start("often.socket")
		first := g.dial("/run/often.sock")
		first.report()
		for range 2 {
			g.dial("/run/often.sock").report()
		}
		g.is("the connection above the limit", g.dial("/run/often.sock").get(), "EOF")
		g.waitFailed("often.socket", "trigger-limit-hit")
		g.is("an instance from before", first.ask("still there"), "still there")
	})
}

func TestPollLimit(t *testing.T) {
	conform(t, row.Row{
		ID: "poll-limit", Claim: "with Accept=yes PollLimitBurst= lets further connections wait for the end of the interval, and the socket stays active",
		Since: 255, See: "systemd.socket(5) PollLimitIntervalSec=",
	}, func(g *guest) {
		g.start("often.socket")
		began := time.Now()
		for range 2 {
			g.dial("/run/often.sock").report()
		}
		g.is("answer to the third client", g.dial("/run/often.sock").ask("hello"), "hello")
		g.is("it has waited", time.Since(began) > 4*time.Second, true)
		g.is("state and NRefused", g.show("often.socket", "ActiveState", "Result", "NRefused"), "active success 0")
	})
}

func TestPollLimitOfRuns(t *testing.T) {
	conform(t, row.Row{
		ID: "poll-limit-runs", Claim: "with Accept=no the poll limit begins again with each run of the service, so the trigger limit can be hit before it",
		Since: 255, See: "systemd.socket(5) PollLimitIntervalSec=",
	}, func(g *guest) {
		g.start("often.socket")
		g.dial("/run/often.sock")
		g.waitFailed("often.socket", "trigger-limit-hit")
	})
}

func TestTriggerLimitDefaults(t *testing.T) {
	conform(t, row.Row{
		ID: "limit-defaults", Claim: "the trigger limit is 20 activations in 2 s, and 200 with Accept=yes",
		See: "systemd.socket(5) TriggerLimitIntervalSec=",
	}, func(g *guest) {
		g.start("no.socket", "yes.socket")
		g.is("Accept=no", g.show("no.socket", "TriggerLimitBurst", "TriggerLimitIntervalUSec"), "20 2s")
		g.is("Accept=yes", g.show("yes.socket", "TriggerLimitBurst", "TriggerLimitIntervalUSec"), "200 2s")
	})
}

func TestPollLimitDefaults(t *testing.T) {
	conform(t, row.Row{
		ID: "poll-limit-defaults", Claim: "the poll limit is 15 events in 2 s, and 150 with Accept=yes",
		Since: 255, See: "systemd.socket(5) PollLimitIntervalSec=",
	}, func(g *guest) {
		g.start("no.socket", "yes.socket")
		g.is("Accept=no", g.show("no.socket", "PollLimitBurst", "PollLimitIntervalUSec"), "15 2s")
		g.is("Accept=yes", g.show("yes.socket", "PollLimitBurst", "PollLimitIntervalUSec"), "150 2s")
	})
}

func TestStartLimit(t *testing.T) {
	conform(t, row.Row{
		ID: "start-limit", Claim: "a service that keeps failing takes its socket to service-start-limit-hit; reset-failed of both and a start recover it",
		See: "systemd.unit(5) StartLimitIntervalSec=",
	}, func(g *guest) {
		g.fails("fails.service")
		g.start("fails.socket")
		g.dial("/run/fails.sock")
		g.waitFailed("fails.socket", "service-start-limit-hit")
		g.is("state and Result of the service", g.show("fails.service", "ActiveState", "Result"), "failed start-limit-hit", before(262, "failed exit-code"))
		g.Unit("fails.service").ResetFailed(g.t)
		g.Unit("fails.socket").ResetFailed(g.t)
		g.is("start after that", g.tryStart("fails.socket"), "done")
	})
}
