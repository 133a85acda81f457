package conformance

import (
	"strings"
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestOnFailure(t *testing.T) {
	conform(t, row.Row{
		ID: "on-failure", Claim: "OnFailure= of a socket unit starts its handler when binding fails",
		See: "systemd.unit(5) OnFailure=",
	}, func(g *guest) {
		g.is("start", g.tryStart("bound.socket"), "failed")
		g.state("handler.service", "exited")
	})
}

func TestOnFailureRestart(t *testing.T) {
	conform(t, row.Row{
		ID: "on-failure-restart", Claim: "OnFailure= of a service with Restart= fires for each failure, and once more at the start limit",
		See: "systemd.unit(5) OnFailure=",
	}, func(g *guest) {
		g.tryStart("fails.service")
		g.waitLog("fails.service", "Start request repeated too quickly.")
		g.state("fails.service", "failed")
		g.state("handler.service", "inactive")
		g.is("runs of the handler", strings.Count(g.log("handler.service"), "Starting"), 5, before(255, 1))
	})
}

func TestRestartMode(t *testing.T) {
	conform(t, row.Row{
		ID: "restart-mode", Claim: "RestartMode=direct fires OnFailure= only when no restart follows",
		Since: 254, See: "systemd.service(5) RestartMode=",
	}, func(g *guest) {
		g.tryStart("fails.service")
		g.waitLog("fails.service", "Start request repeated too quickly.")
		g.state("fails.service", "failed")
		g.state("handler.service", "inactive")
		g.is("runs of the handler", strings.Count(g.log("handler.service"), "Starting"), 1)
	})
}

func TestMonitorEnvironment(t *testing.T) {
	conform(t, row.Row{
		ID: "monitor-env", Claim: "the handler of OnFailure= has the unit, its result and its status in MONITOR_ variables",
		Since: 251, See: "systemd.exec(5) $MONITOR_UNIT",
	}, func(g *guest) {
		g.fails("fails.service")
		g.start("fails.service")
		g.waitLog("handler.service", "unit fails.service result exit-code status 7")
	})
}

func TestOnSuccess(t *testing.T) {
	conform(t, row.Row{
		ID: "on-success", Claim: "OnSuccess= of a service starts its handler when the service exits when idle",
		Since: 249, See: "systemd.unit(5) OnSuccess=",
	}, func(g *guest) {
		g.start("ends.socket")
		g.dial("/run/ends.sock").report()
		g.state("handler.service", "exited")
		g.is("state of the socket", g.show("ends.socket", "SubState"), "listening")
	})
}
