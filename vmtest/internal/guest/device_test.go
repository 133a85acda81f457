package guest

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFindDevice(t *testing.T) {
	root := t.TempDir()
	tree{
		"sys/block/loop0/size":                 "0",
		"sys/block/vda/serial":                 "vmtest-root\n",
		"sys/block/vdb/serial":                 "vmtest-disk",
		"sys/block/vdc/serial":                 "",
		"dev/vda":                              "",
		"dev/vdc":                              "",
		"sys/class/virtio-ports/vport1p0/dev":  "1:2",
		"sys/class/virtio-ports/vport1p1/name": PortName + "\n",
		"sys/class/virtio-ports/vport1p2/name": "org.qemu.guest_agent.0\n",
	}.write(t, root)
	for serial, want := range map[string]string{
		"vmtest-root": root + "/dev/vda",
		"vmtest-disk": "", // which has no node yet
		"vmtest":      "",
	} {
		dev, ok := initrd{root: root}.disk(serial)()
		assert.Equal(t, want, dev, serial)
		assert.Equal(t, want != "", ok, serial)
	}
	_, ok := findPort(root, PortName)
	assert.False(t, ok, "a port without its node")
	require.NoError(t, os.WriteFile(root+"/dev/vport1p1", nil, 0o644))
	dev, ok := findPort(root, PortName)
	assert.True(t, ok)
	assert.Equal(t, root+"/dev/vport1p1", dev)
	_, ok = findPort(t.TempDir(), PortName)
	assert.False(t, ok, "no sysfs")
}

func TestAwaitDevice(t *testing.T) {
	looks := 0
	third := func() (string, bool) { looks++; return "/dev/vda", looks == 3 }
	events := 0
	wait := func(time.Duration) error { events++; return nil }
	dev, err := awaitDevice(t.Context(), "the root disk", wait, third)
	require.NoError(t, err)
	assert.Equal(t, "/dev/vda", dev)
	assert.Equal(t, 2, events, "one event before each further look")

	never := func() (string, bool) { return "", false }
	broken := errors.New("broken")
	_, err = awaitDevice(t.Context(), "the root disk", func(time.Duration) error { return broken }, never)
	assert.ErrorIs(t, err, broken)
	assert.EqualError(t, err, "wait for the root disk: broken")

	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		idle := func(timeout time.Duration) error { time.Sleep(timeout); return nil }
		_, err := awaitDevice(t.Context(), "the root disk", idle, never)
		assert.EqualError(t, err, "wait for the root disk: no such device after 1m0s")
		assert.Equal(t, deviceWait, time.Since(began))

		began = time.Now()
		busy := func(time.Duration) error { time.Sleep(7 * time.Second); return nil }
		_, err = awaitDevice(t.Context(), "the root disk", busy, never)
		assert.ErrorContains(t, err, "no such device")
		assert.Equal(t, 63*time.Second, time.Since(began), "events of others must not prolong the wait")
	})
}

// TestUevents listens to the kernel. It needs no event: any number is right.
func TestUevents(t *testing.T) {
	events, err := openUevents()
	require.NoError(t, err)
	defer events.Close()
	assert.NoError(t, events.wait(time.Millisecond))
	assert.NoError(t, events.wait(-time.Second), "which must not wait forever")
}

// TestContextEndsTheWaitForADevice waits for the host's own events.
func TestContextEndsTheWaitForADevice(t *testing.T) {
	why := errors.New("no more time")
	ctx, cancel := context.WithCancelCause(t.Context())
	began := time.Now()
	_, err := waitDevice(ctx, "port x", func() (string, bool) {
		time.AfterFunc(10*time.Millisecond, func() { cancel(why) }) // in the wait, most likely
		return "", false
	})
	require.ErrorIs(t, err, why)
	assert.EqualError(t, err, "wait for port x: no more time")
	assert.Less(t, time.Since(began), deviceWait/2)
}

func TestUeventTimeout(t *testing.T) {
	events, err := openUevents()
	require.NoError(t, err)
	assert.NoError(t, events.wait(time.Millisecond))
	assert.NoError(t, events.wait(0))
	require.NoError(t, events.Close())
}
