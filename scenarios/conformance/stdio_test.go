package conformance

import (
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestStandardInputSocket(t *testing.T) {
	conform(t, row.Row{
		ID: "stdio", Claim: "StandardInput=socket makes the connection standard input and output of a program that knows nothing of sockets",
		See: "systemd.exec(5) StandardInput=",
	}, func(g *guest) {
		g.start("cat.socket")
		c := g.dial("127.0.0.1:9108")
		g.is("answer of cat", c.ask("hello"), "hello")
		unit := g.instances("cat@.service", 1)[0]
		g.is("StandardOutput", g.show(unit, "StandardInput", "StandardOutput"), "socket inherit")
	})
}

func TestStandardInputNamed(t *testing.T) {
	conform(t, row.Row{
		ID: "stdio-named", Claim: "StandardInput=fd:NAME takes the listener of that name",
		See: "systemd.exec(5) StandardInput=",
	}, func(g *guest) {
		g.start("named.socket")
		in := g.dial("/run/named.sock").report().FDs[0]
		g.is("standard input", []any{in.Listens, in.Local}, []any{true, "/run/named.sock"})
	})
}

func TestStandardInputListener(t *testing.T) {
	conform(t, row.Row{
		ID: "stdio-wait", Claim: "StandardInput=socket with Accept=no makes the one listener standard input",
		See: "systemd.exec(5) StandardInput=",
	}, func(g *guest) {
		g.start("wait.socket")
		in := g.dial("/run/wait.sock").report().FDs[0]
		g.is("standard input", []any{in.Listens, in.Local}, []any{true, "/run/wait.sock"})
	})
}

func TestStandardInputOfTwoListeners(t *testing.T) {
	conform(t, row.Row{
		ID: "stdio-wait-two", Claim: "StandardInput=socket with two listeners fails the service",
		See: "systemd.exec(5) StandardInput=",
	}, func(g *guest) {
		g.fails("two.service")
		g.start("two.socket")
		g.dial("/run/one.sock")
		g.waitFailed("two.socket", "service-start-limit-hit")
	})
}
