package conformance

import (
	"strings"
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestAddressInUse(t *testing.T) {
	conform(t, row.Row{
		ID: "in-use", Claim: "a socket whose address is taken fails with resources, and its journal names the address and the reason",
		See: "systemd.socket(5) ListenStream=",
	}, func(g *guest) {
		g.start("holder.socket")
		g.startFails("late.socket", "failed resources")
		g.logs("late.socket", "listening socket (127.0.0.1:9141): Address already in use")
		g.Unit("holder.socket").Stop(g.t)
		g.is("start when it is free", g.tryStart("late.socket"), "done")
	})
}

func TestMissingService(t *testing.T) {
	conform(t, row.Row{
		ID: "no-service", Claim: "a socket without its service does not start",
		See: "systemd.socket(5)",
	}, func(g *guest) {
		g.startFails("lonely.socket", "inactive success")
		g.logs("lonely.socket", "lonely.service not loaded, refusing.")
	})
}

func TestMissingTemplate(t *testing.T) {
	conform(t, row.Row{
		ID: "no-template", Claim: "a socket with Accept=yes and without its template starts, and fails at the first connection",
		See: "systemd.socket(5) Accept=",
	}, func(g *guest) {
		g.is("start", g.tryStart("lonely.socket"), "done")
		g.is("answer", g.dial("/run/lonely.sock").get(), "EOF")
		g.waitFailed("lonely.socket", "resources")
		g.logs("lonely.socket", "Failed with result 'resources'.")
	})
}

func TestMasked(t *testing.T) {
	conform(t, row.Row{
		ID: "masked", Claim: "a socket whose service is masked does not start",
		See: "systemctl(1) mask",
	}, func(g *guest) {
		g.mask("masked.service")
		g.startFails("masked.socket", "inactive success")
	})
}

func TestMaskedLater(t *testing.T) {
	conform(t, row.Row{
		ID: "masked-later", Claim: "a socket whose service is masked while it listens fails at the first connection",
		See: "systemctl(1) mask",
	}, func(g *guest) {
		g.start("masked.socket")
		g.mask("masked.service")
		g.DaemonReload(g.t)
		c := g.dial("/run/masked.sock")
		g.waitFailed("masked.socket", "resources")
		g.is("the client", c.get(), "EOF")
	})
}

// mask replaces the file of a unit, as systemctl mask does with one below /usr.
func (g *guest) mask(unit string) {
	g.t.Helper()
	g.run("ln", "--symbolic", "--force", "/dev/null", "/etc/systemd/system/"+unit)
}

func TestServiceError(t *testing.T) {
	conform(t, row.Row{
		ID: "service-error", Claim: "a program that does not exist is reported in the journal of the service, and not in that of the socket",
		See: "systemd.exec(5) EXIT_EXEC",
	}, func(g *guest) {
		g.fails("error.service")
		g.start("error.socket")
		g.dial("/run/error.sock")
		g.waitFailed("error.socket", "service-start-limit-hit")
		g.is("exit status of the service", g.show("error.service", "ExecMainStatus"), "203")
		g.logs("error.service", "/usr/local/bin/not-there: No such file or directory")
		g.is("the socket's journal names the program", strings.Contains(g.log("error.socket"), "not-there"), false)
	})
}

func TestCondition(t *testing.T) {
	conform(t, row.Row{
		ID: "condition", Claim: "a service whose condition is false is triggered until the socket hits its trigger limit",
		See: "systemd.unit(5) ConditionPathExists=",
	}, func(g *guest) {
		g.start("condition.socket")
		g.dial("/run/condition.sock")
		g.waitFailed("condition.socket", "trigger-limit-hit")
		g.is("state of the service", g.show("condition.service", "ActiveState", "ConditionResult"), "inactive no")
	})
}

func TestBadService(t *testing.T) {
	conform(t, row.Row{
		ID: "bad-setting", Claim: "a socket does not start while its service has a bad setting",
		See: "systemd.socket(5)",
	}, func(g *guest) {
		g.errs("bad.service", "Refusing.")
		g.startFails("bad.socket", "inactive success")
		g.is("LoadState of the service", g.show("bad.service", "LoadState"), "bad-setting")
	})
}

func TestUnknownDirective(t *testing.T) {
	conform(t, row.Row{
		ID: "unknown-directive", Claim: "a directive that the version does not have is logged and ignored",
		See: "systemd.unit(5)",
	}, func(g *guest) {
		g.is("start", g.tryStart("unknown.socket"), "done")
		g.is("Listen", g.show("unknown.socket", "Listen"), "/run/unknown.sock (Stream)")
		g.logs("unknown.socket", "ListenStraem")
	})
}

func TestNoListen(t *testing.T) {
	conform(t, row.Row{
		ID: "no-listen", Claim: "a socket unit that listens to nothing is a bad setting",
		See: "systemd.socket(5)",
	}, func(g *guest) {
		g.badSetting("none.socket", "Unit has no Listen setting")
	})
}
