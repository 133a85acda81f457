// Package templated is a module that TestTemplateInCache tests again and again.
package templated

import (
	"os"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest"
)

var prepared = vmtest.Template{
	Name:   "greet",
	Inputs: []string{"read"},
	Setup: func(t testing.TB, g *vmtest.Guest) {
		read, err := os.ReadFile("read")
		if err != nil {
			t.Fatal(err)
		}
		g.InstallGo(t, "./cmd/greet", "/usr/local/bin/greet")
		g.CopyFS(t, os.DirFS("units"), "/etc/systemd/system")
		g.Copy(t, "copied", "/etc/copied")
		g.WriteFile(t, "/etc/read", read, 0o644)
		g.WriteFile(t, "/etc/variable", []byte(g.Machine.Getenv("GREET_VARIABLE")), 0o644)
		g.Unit("greet.service").Start(t)
	},
}

func TestPrepared(t *testing.T) {
	begin := time.Now()
	g := prepared.Start(t)
	t.Logf("prepared machine after %d ms", time.Since(begin).Milliseconds())
	t.Logf("the machine has %q", g.Run(t, "cat", "/etc/copied", "/etc/read", "/etc/variable", "/run/greeting"))
}

func TestPlain(t *testing.T) {
	begin := time.Now()
	vmtest.Start(t, vmtest.Config{})
	t.Logf("plain machine after %d ms", time.Since(begin).Milliseconds())
}

// bad has a Setup that fails.
var bad = vmtest.Template{Name: "bad", Setup: func(t testing.TB, g *vmtest.Guest) {
	t.Cleanup(func() { t.Log("Setup of " + t.Name() + " is over") })
	g.Run(t, "false")
}}

func TestBadOne(t *testing.T) {
	t.Parallel()
	bad.Start(t)
}

func TestBadTwo(t *testing.T) {
	t.Parallel()
	bad.Start(t)
}
