package conformance

import (
	"testing"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

func TestOpenFile(t *testing.T) {
	conform(t, row.Row{
		ID: "open-file", Claim: "OpenFile= passes a file by name after the listeners",
		Since: 253, See: "systemd.service(5) OpenFile=",
	}, func(g *guest) {
		g.start("open.socket")
		r := g.dial("/run/open.sock").report()
		g.is("LISTEN_FDNAMES", r.Env["LISTEN_FDNAMES"], "open.socket:config")
		g.is("the file", r.FDs[len(r.FDs)-1].Text["path"], "/etc/passwd")
	})
}

func TestStore(t *testing.T) {
	conform(t, row.Row{
		ID: "fdstore", Claim: "a stored descriptor comes back by name after a restart, after the listeners, and a stop drops it",
		See: "sd_notify(3)",
	}, func(g *guest) {
		g.start("store.socket")
		g.is("LISTEN_FDNAMES at first", g.dial("/run/store.sock").ask("env LISTEN_FDNAMES"), "store.socket")
		g.is("NFileDescriptorStore", g.show("store.service", "NFileDescriptorStore"), "1")
		g.Unit("store.service").Restart(g.t)
		g.is("LISTEN_FDNAMES after a restart", g.dial("/run/store.sock").ask("env LISTEN_FDNAMES"), "store.socket:memory")
		g.Unit("store.service").Stop(g.t)
		g.is("NFileDescriptorStore after a stop", g.show("store.service", "NFileDescriptorStore"), "0")
	})
}

func TestStorePreserve(t *testing.T) {
	conform(t, row.Row{
		ID: "fdstore-preserve", Claim: "FileDescriptorStorePreserve=yes keeps stored descriptors over a stop, for the next client",
		Since: 254, See: "systemd.service(5) FileDescriptorStorePreserve=",
	}, func(g *guest) {
		g.start("store.socket")
		g.dial("/run/store.sock").report()
		g.Unit("store.service").Stop(g.t)
		g.is("SubState and NFileDescriptorStore after a stop", g.show("store.service", "SubState", "NFileDescriptorStore"), "dead-resources-pinned 1")
		g.is("LISTEN_FDNAMES for the next client", g.dial("/run/store.sock").ask("env LISTEN_FDNAMES"), "store.socket:memory")
	})
}
