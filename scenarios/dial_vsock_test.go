package scenarios

import (
	"bufio"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
)

// A socket unit listens on vsock(7), and each connection starts an instance. See
// ListenStream= in systemd.socket(5).
func TestDialVsock(t *testing.T) {
	t.Parallel()
	const socket, template = "demo-vsock.socket", "demo-vsock@.service"
	g := startGuest(t, "testdata/vsock")
	g.Verify(t, unitFile(g, template), unitFile(g, socket))
	g.EnableNow(t, socket)
	assertShow(t, g, socket, properties{"SubState": "listening", "Listen": "vsock::9091 (Stream)", "NAccepted": "0"})

	var open []*client
	for _, dial := range []*vmtest.Conn{
		g.Dial(t, "vsock", "1:9091"), g.Dial(t, "vsock", "9091"),
		g.DialFrom(t, vmtest.Source{Address: "1:700"}, "vsock", "9091"),
	} {
		c := &client{Conn: dial, in: bufio.NewReader(dial)}
		c.echo(t, "by vsock")
		open = append(open, c)
	}
	assertShow(t, g, socket, properties{"SubState": "listening", "NAccepted": "3", "NConnections": "3", "NRefused": "0"})
	assert.Len(t, g.Unit(template).Instances(t), 3)
	for _, c := range open {
		c.finish(t)
	}
	g.Unit(template).WaitInstances(t, 0)
	g.Unit(socket).WaitProperty(t, "NConnections", 0)
	assert.Contains(t, lines(g.Journal(t, vmtest.JournalQuery{About: socket})), "Echo socket for vsock")

	_, err := g.Machine.Dial(t.Context(), "vsock", "9092")
	assert.ErrorIs(t, err, syscall.ECONNRESET, "nobody listens")
	_, err = g.Machine.Dial(t.Context(), "vsock", "77:9091")
	assert.ErrorContains(t, err, "dial vsock 77:9091 (guest)")
	assert.ErrorContains(t, err, "no way to CID 77: CID 1 is the guest itself")
	assertRunning(t, g)
}

// The first socket has the kernel load the modules. The error of a kernel that cannot says so.
func TestDialVsockWithoutModules(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	g.Run(t, "modprobe", "-r", "vsock_loopback", "vmw_vsock_virtio_transport", "vsock") // which systemd 262 loads
	g.Run(t, "sh", "-c", "echo /bin/false >/proc/sys/kernel/modprobe")
	_, err := g.Machine.Dial(t.Context(), "vsock", "9091")
	assert.ErrorIs(t, err, syscall.EAFNOSUPPORT)
	assert.ErrorContains(t, err, "its image needs the modules vsock and vsock_loopback, and modprobe")
	g.Run(t, "modprobe", "vsock")
	_, err = g.Machine.Dial(t.Context(), "vsock", "9091")
	assert.ErrorIs(t, err, syscall.ENODEV)
	assert.ErrorContains(t, err, "no module vsock_loopback, or could not load it")
	g.Run(t, "modprobe", "vsock_loopback")
	_, err = g.Machine.Dial(t.Context(), "vsock", "9091")
	assert.ErrorIs(t, err, syscall.ECONNRESET, "nobody listens")
}
