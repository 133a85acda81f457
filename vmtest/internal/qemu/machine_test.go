package qemu

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func files(t *testing.T, n int) []*os.File {
	var list []*os.File
	for range n {
		f, err := os.Open(os.DevNull)
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		list = append(list, f)
	}
	return list
}

// lines puts each option on a line of its own.
func lines(args []string) string {
	var b strings.Builder
	for i, a := range args {
		if strings.HasPrefix(a, "-") && i > 0 {
			b.WriteString("\n")
		} else if i > 0 {
			b.WriteString(" ")
		}
		b.WriteString(a)
	}
	return b.String()
}

func TestCommandLineOfABoot(t *testing.T) {
	f := files(t, 8)
	m := Machine{
		Arch: "amd64", Memory: 512, Kernel: f[4], Initrd: f[0],
		Cmdline: []string{"quiet", "panic=-1"}, Root: f[5], RootSerial: "root", PortName: "port,name", JournalPortName: "other", SystemdPortName: "third",
	}
	args, inherited, err := m.commandLine(wires{console: f[1], link: f[2], monitor: f[3], journal: f[6], systemd: f[7]})
	require.NoError(t, err)
	assert.Equal(t, strings.TrimSpace(`
-nodefaults
-no-user-config
-display none
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-object memory-backend-ram,id=ram,size=512M
-machine q35,smm=off,vmport=off,sata=off,smbus=off,memory-backend=ram
-accel tcg,tb-size=128
-cpu qemu64,-cx16,-svm
-smp 1,maxcpus=2
-m 512M
-no-reboot
-kernel /proc/self/fd/3
-initrd /proc/self/fd/4
-append console=ttyS0 no_timer_check nr_cpus=1 quiet panic=-1
-blockdev driver=file,node-name=root,filename=/proc/self/fd/5,read-only=on,locking=off
-device virtio-blk-pci,drive=root,serial=root
-object rng-builtin,id=entropy
-device virtio-rng-pci,rng=entropy
-device pvpanic
-device virtio-serial-pci,max_ports=4
-chardev socket,id=link,fd=6
-device virtserialport,id=link,chardev=link,name=port,,name
-chardev socket,id=journal,fd=7
-device virtserialport,id=journal,chardev=journal,name=other
-chardev socket,id=systemd,fd=8
-device virtserialport,id=systemd,chardev=systemd,name=third
-chardev socket,id=console,fd=9
-serial chardev:console
-chardev socket,id=qmp,fd=10
-mon chardev=qmp,mode=control`), lines(args))
	assert.Equal(t, []*os.File{f[4], f[0], f[5], f[2], f[6], f[7], f[1], f[3]}, inherited, "in the order of their numbers")
}

func TestCommandLineOfAFork(t *testing.T) {
	f := files(t, 5)
	m := Machine{Arch: "amd64", Memory: 512, Initrd: f[0], RAM: &RAM{File: f[4], Private: true}, Incoming: true}
	args, inherited, err := m.commandLine(wires{console: f[1], link: f[2], monitor: f[3]})
	require.NoError(t, err)
	text := lines(args)
	assert.Contains(t, text, "-object memory-backend-file,id=ram,size=512M,mem-path=/proc/self/fd/3,share=off\n")
	assert.Contains(t, text, "-initrd /proc/self/fd/5\n")
	assert.Contains(t, text, "-incoming defer\n")
	assert.Same(t, f[4], inherited[0])
}

// TestCommandLineWithADisk has a disk that takes the guest's writes and flushes: without
// cache.direct, cache.no-flush and snapshot.
func TestCommandLineWithADisk(t *testing.T) {
	f := files(t, 2)
	m := Machine{Arch: "amd64", Memory: 512, Root: f[0], RootSerial: "root", Disk: f[1], DiskSerial: "disk"}
	args, inherited, err := m.commandLine(wires{})
	require.NoError(t, err)
	assert.Contains(t, lines(args), `
-device virtio-blk-pci,drive=root,serial=root
-blockdev driver=file,node-name=disk,filename=/proc/self/fd/6
-device virtio-blk-pci,drive=disk,serial=disk,werror=report
`)
	assert.Same(t, f[1], inherited[3])
}

func TestCommandLineWithNetworkInterfaces(t *testing.T) {
	f := files(t, 2)
	m := Machine{Arch: "amd64", Memory: 512, NICs: 2}
	args, inherited, err := m.commandLine(wires{nics: f})
	require.NoError(t, err)
	assert.Contains(t, lines(args), `
-netdev socket,id=net0,fd=11
-device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:00:00:00,guest_announce=off,romfile=
-netdev socket,id=net1,fd=12
-device virtio-net-pci,id=nic1,netdev=net1,mac=52:54:00:00:00:01,guest_announce=off,romfile=`)
	assert.Equal(t, f, inherited[len(inherited)-2:])
	_, plain, err := Fingerprint(Machine{Arch: "amd64", Memory: 512})
	require.NoError(t, err)
	assert.NotContains(t, lines(plain), "net", "a machine without interfaces")
}

func TestCommandLineOfAnotherArchitecture(t *testing.T) {
	f := files(t, 4)
	m := Machine{Arch: "arm64", Memory: 512, Accel: KVM, CPUs: 2, Initrd: f[0]}
	args, _, err := m.commandLine(wires{console: f[1], link: f[2], monitor: f[3]})
	require.NoError(t, err)
	text := lines(args)
	assert.Contains(t, text, "-accel kvm\n-cpu host\n-smp 2\n")
	assert.Contains(t, text, "-append console=ttyAMA0")
	assert.Contains(t, text, "-device pvpanic-pci\n")
}

// TestKernelArgsUnderEmulation: a kernel of another architecture does not know
// no_timer_check, and would hand it to PID 1.
func TestKernelArgsUnderEmulation(t *testing.T) {
	for want, m := range map[string]Machine{
		"-append console=ttyS0 no_timer_check nr_cpus=1": {Arch: "amd64"},
		"-append console=ttyS0 no_timer_check":           {Arch: "amd64", CPUs: 2},
		"-append console=ttyS0":                          {Arch: "amd64", Accel: KVM},
		"-append console=ttyAMA0 nr_cpus=1":              {Arch: "arm64"},
	} {
		args, _, err := m.commandLine(wires{})
		require.NoError(t, err)
		assert.Contains(t, strings.Split(lines(args), "\n"), want)
	}
}

// An emulated guest has a processor that could be plugged in, so that TCG emits barriers.
func TestProcessors(t *testing.T) {
	for want, machines := range map[string][]Machine{
		"1,maxcpus=2": {{}, {CPUs: 1}},
		"1":           {{Accel: KVM}, {Accel: KVM, CPUs: 1}},
		"2":           {{CPUs: 2}, {Accel: KVM, CPUs: 2}},
	} {
		for _, m := range machines {
			smp, _ := m.processors()
			assert.Equal(t, want, smp, "%+v", m)
		}
	}
}

func TestUnknownArchitecture(t *testing.T) {
	_, _, err := Machine{Arch: "m68k"}.commandLine(wires{})
	assert.EqualError(t, err, `architecture "m68k": not supported (amd64 and arm64 are)`)
}
