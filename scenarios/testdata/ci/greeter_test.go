package greeter

import (
	"os"
	"testing"

	"example.org/systemd-vmtest/vmtest"
)

func TestGreeter(t *testing.T) {
	g := vmtest.Start(t, vmtest.Config{})
	g.CopyFS(t, os.DirFS("units"), "/etc/systemd/system")
	g.Unit("greeter.service").Start(t)
	g.Unit("greeter.service").Wait(t, "active")
}
