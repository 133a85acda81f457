package conformance

import (
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
	"example.org/systemd-vmtest/vmtest"
)

func TestBoot(t *testing.T) {
	conform(t, row.Row{
		ID: "boot", Claim: "an enabled socket listens after a reboot, before its service ever ran",
		See: "systemctl(1) enable",
	}, func(g *guest) {
		g.Guest = vmtest.Start(g.t, vmtest.Config{Disk: vmtest.NewDisk(g.t, 0)})
		g.copyUnits()
		g.EnableNow(g.t, "boot.socket")
		g.Unit("boot.socket").Stop(g.t)
		g.Reboot(g.t)
		g.is("state", g.show("boot.socket", "ActiveState", "SubState", "NAccepted"), "active listening 0")
		g.is("answer", g.dial("/run/boot.sock").ask("hello"), "hello")
	})
}

func TestSoftReboot(t *testing.T) {
	conform(t, row.Row{
		ID: "soft-reboot", Claim: "an enabled socket listens after a soft reboot",
		Since: 254, See: "systemd-soft-reboot.service(8)",
	}, func(g *guest) {
		g.EnableNow(g.t, "boot.socket")
		g.Unit("boot.socket").Stop(g.t)
		g.SoftReboot(g.t)
		g.is("state", g.show("boot.socket", "ActiveState", "SubState"), "active listening")
		g.is("answer", g.dial("/run/boot.sock").ask("hello"), "hello")
	})
}
