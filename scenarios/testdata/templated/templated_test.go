// Package templated is a module that TestTemplateInCache tests again and again.
package templated

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest"
)

var prepared = vmtest.Template{
	Name:   "greet",
	Inputs: []string{"read"},
	Prepare: func(ctx context.Context, m *vmtest.Machine) error {
		read, err := os.ReadFile("read")
		return errors.Join(err,
			m.InstallGo(ctx, "./cmd/greet", "/usr/local/bin/greet"),
			m.CopyFS(ctx, os.DirFS("units"), "/etc/systemd/system"),
			m.Copy(ctx, "copied", "/etc/copied"),
			m.WriteFile(ctx, "/etc/read", read, 0o644),
			m.WriteFile(ctx, "/etc/variable", []byte(m.Getenv("GREET_VARIABLE")), 0o644),
			m.Unit("greet.service").Start(ctx),
		)
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
