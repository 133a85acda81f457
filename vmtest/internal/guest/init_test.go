package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// tree is what a file tree has: path to content, or to "-> TARGET" for a link.
type tree map[string]string

func (files tree) write(t *testing.T, root string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			require.NoError(t, os.Symlink(target, path))
			continue
		}
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
}

func readTree(t *testing.T, root string) tree {
	t.Helper()
	files := tree{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if d.Type() == fs.ModeSymlink {
			target, err := os.Readlink(path)
			files[name] = "-> " + target
			return err
		}
		content, err := os.ReadFile(path)
		files[name] = string(content)
		return err
	}))
	return files
}

func kernelVersion(t *testing.T) string {
	t.Helper()
	var uname unix.Utsname
	require.NoError(t, unix.Uname(&uname))
	return unix.ByteSliceToString(uname.Release[:])
}

// fakeInitrd is an initrd in a directory. What only PID 1 may do is noted instead,
// one line each.
type fakeInitrd struct {
	initrd
	done []string
}

// newFakeInitrd has the files of a Debian guest whose mounts show what is in them
// already.
func newFakeInitrd(t *testing.T, cmdline string) *fakeInitrd {
	t.Helper()
	root := t.TempDir()
	modules := "lib/modules/" + kernelVersion(t) + "/"
	tree{
		"init":                                       "the agent",
		"vmtest.json":                                `{"modules":["virtio_blk","overlay"]}`,
		"vmtest-run/systemd/a.unit":                  "unit",
		"vmtest-run/systemd/masked":                  "-> /dev/null",
		"proc/cmdline":                               cmdline + "\n",
		"dev/vda":                                    "",
		"dev/vdb":                                    "",
		"sys/block/vda/serial":                       RootSerial,
		"sys/block/vdb/serial":                       DiskSerial,
		modules + "modules.dep":                      "k/virtio_blk.ko: k/virtio.ko\nk/virtio.ko:\n",
		modules + "modules.builtin":                  "k/overlay.ko\n",
		modules + "k/virtio_blk.ko":                  "virtio_blk",
		modules + "k/virtio.ko":                      "virtio",
		"image/usr/" + modules + "modules.dep":       "k/ext4.ko: k/jbd2.ko\nk/jbd2.ko:\nk/pvpanic-pci.ko:\nk/pvpanic-mmio.ko: k/pvpanic.ko\nk/pvpanic.ko:\n",
		"image/usr/" + modules + "k/pvpanic.ko":      "pvpanic",
		"image/usr/" + modules + "k/pvpanic-pci.ko":  "pvpanic_pci",
		"image/usr/" + modules + "k/pvpanic-mmio.ko": "pvpanic_mmio",
		"image/usr/" + modules + "k/ext4.ko":         "ext4",
		"image/usr/" + modules + "k/jbd2.ko":         "jbd2",
		"image/lib":                                  "-> /usr/lib",
		"newroot/etc/.in":                            "",
	}.write(t, root)
	f := &fakeInitrd{}
	note := func(format string, args ...any) {
		f.done = append(f.done, strings.ReplaceAll(fmt.Sprintf(format, args...), root, ""))
	}
	console, err := os.Create(filepath.Join(t.TempDir(), "console"))
	require.NoError(t, err)
	t.Cleanup(func() { console.Close() })
	f.initrd = initrd{
		root: root,
		mount: func(source, target, fstype string, flags uintptr, data string) error {
			note("mount %s %s %s %#x %s", source, target, fstype, flags, data)
			return nil
		},
		initModule: func(image []byte, params string) error {
			note("module %s%s", image, params)
			if string(image) == "virtio" {
				return unix.EEXIST
			}
			return nil
		},
		await: func(what string, found func() (string, bool)) (string, error) {
			if path, ok := found(); ok {
				return path, nil
			}
			return "", errors.New("no " + what)
		},
		enter: func(newRoot, init string) error {
			note("enter %s %s", newRoot, init)
			return errors.New("entered")
		},
		powerOff: func() error { note("power off"); return nil },
		console:  console,
	}
	return f
}

func (f *fakeInitrd) printed(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(f.console.Name())
	require.NoError(t, err)
	return string(content)
}

func TestInit(t *testing.T) {
	api := []string{
		"mount devtmpfs /dev devtmpfs 0x2 mode=0755",
		"mount proc /proc proc 0x6 ",
		"mount sysfs /sys sysfs 0x6 ",
		"mount tmpfs /run tmpfs 0x6 mode=0755",
		"module virtio",
		"module virtio_blk",
		"mount /dev/vda /image squashfs 0x1 ",
	}
	enter := []string{"mount overlay /newroot overlay 0x0 lowerdir=/image,upperdir=/written/upper,workdir=/written/work"}
	for _, name := range panicModules[runtime.GOARCH] {
		enter = append(enter, "module "+name)
	}
	enter = append(enter, "enter /newroot /sbin/init")
	for name, test := range map[string]struct {
		cmdline string
		written []string
	}{
		"in RAM":    {"quiet", []string{"mount tmpfs /written tmpfs 0x0 mode=0755,size=80%"}},
		"on a disk": {"quiet " + DiskArg, []string{"module jbd2", "module ext4", "mount /dev/vdb /written ext4 0x0 "}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeInitrd(t, test.cmdline)
			require.EqualError(t, f.run(), "entered")
			want := append(append(append([]string{}, api...), test.written...), enter...)
			assert.Equal(t, want, f.done)
			assert.Equal(t, HandOver+"\n", f.printed(t))
			assert.Equal(t, tree{
				"vmtest/agent":   "the agent",
				"systemd/a.unit": "unit",
				"systemd/masked": "-> /dev/null",
			}, readTree(t, f.path("/run")))
			info, err := os.Stat(f.path(AgentPath))
			require.NoError(t, err)
			assert.Equal(t, fs.FileMode(0o755), info.Mode())
			for _, gone := range []string{"/init", "/lib", ConfigPath, RunTree} {
				assert.NoFileExists(t, f.path(gone))
				assert.NoDirExists(t, f.path(gone))
			}
			root := readTree(t, f.path(newRoot))
			assert.Equal(t, hosts, root["etc/hosts"])
			assert.Regexp(t, "^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}\n$", root["etc/machine-id"])
		})
	}
}

// Modules that the initrd has loaded are not loaded from the image.
func TestInitWithCompressedModules(t *testing.T) {
	f := newFakeInitrd(t, "quiet "+DiskArg)
	const dep = "k/ext4.ko.zst: k/jbd2.ko.zst\nk/jbd2.ko.zst:\nk/pvpanic-pci.ko.zst:\nk/pvpanic-mmio.ko.zst: k/pvpanic.ko.zst\nk/pvpanic.ko.zst:\n"
	tree{
		"image/usr/lib/modules/" + kernelVersion(t) + "/modules.dep": dep,
		"sys/module/ext4/.in": "", "sys/module/jbd2/.in": "",
		"sys/module/pvpanic/.in": "", "sys/module/pvpanic_mmio/.in": "", "sys/module/pvpanic_pci/.in": "",
	}.write(t, f.root)
	require.EqualError(t, f.run(), "entered")
	assert.NotContains(t, strings.Join(f.done, "\n"), "module pvpanic")
	assert.NotContains(t, strings.Join(f.done, "\n"), "module ext4")
}

// An image without the drivers that report panics boots all the same.
func TestInitWithoutPanicModules(t *testing.T) {
	for name, spoil := range map[string]func(*fakeInitrd) error{
		"no modules": func(f *fakeInitrd) error { return os.RemoveAll(f.path("/image/usr")) },
		"not among the modules": func(f *fakeInitrd) error {
			return os.WriteFile(f.path("/image/usr/lib/modules/"+kernelVersion(t)+"/modules.dep"), nil, 0o644)
		},
	} {
		f := newFakeInitrd(t, "quiet")
		require.NoError(t, spoil(f))
		require.EqualError(t, f.run(), "entered", name)
		assert.NotContains(t, strings.Join(f.done, "\n"), "pvpanic", name)
	}
}

func TestInitProbe(t *testing.T) {
	f := newFakeInitrd(t, "quiet "+ProbeArg+" panic=-1")
	require.NoError(t, f.run())
	assert.Equal(t, ProbeAnswer+"\n", f.printed(t))
	assert.Equal(t, "power off", f.done[len(f.done)-1])
	assert.NotContains(t, strings.Join(f.done, "\n"), "module")
	assert.FileExists(t, f.path("/init"))
}

func TestInitFailures(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*testing.T, *fakeInitrd)
		text  string
	}{
		"no command line":  {func(t *testing.T, f *fakeInitrd) { os.Remove(f.path("/proc/cmdline")) }, "read kernel command line: "},
		"no configuration": {func(t *testing.T, f *fakeInitrd) { os.Remove(f.path(ConfigPath)) }, "read init configuration: "},
		"no JSON":          {func(t *testing.T, f *fakeInitrd) { tree{ConfigPath: "{"}.write(t, f.root) }, "parse /vmtest.json: "},
		"unknown module":   {func(t *testing.T, f *fakeInitrd) { tree{ConfigPath: `{"modules":["none"]}`}.write(t, f.root) }, "find kernel module none: "},
		"no module index":  {func(t *testing.T, f *fakeInitrd) { os.RemoveAll(f.path("/lib")) }, "read module dependencies below /: "},
		"no root disk":     {func(t *testing.T, f *fakeInitrd) { os.Remove(f.path("/dev/vda")) }, "no the root disk"},
		"no own disk":      {func(t *testing.T, f *fakeInitrd) { tree{"sys/block/vdb/serial": "other"}.write(t, f.root) }, "no the machine's own disk"},
		"no ext4":          {func(t *testing.T, f *fakeInitrd) { os.RemoveAll(f.path("/image/usr")) }, "read module dependencies below /image: "},
		"refused module": {func(t *testing.T, f *fakeInitrd) {
			f.initModule = func([]byte, string) error { return unix.ENOEXEC }
		}, "load module k/virtio.ko: exec format error"},
		"refused mount": {func(t *testing.T, f *fakeInitrd) {
			f.mount = func(_, target, _ string, _ uintptr, _ string) error {
				if target == f.path(newRoot) {
					return unix.EINVAL
				}
				return unix.EBUSY // for the first four: the kernel has mounted them
			}
		}, "mount image "},
		"no agent": {func(t *testing.T, f *fakeInitrd) { os.Remove(f.path("/init")) }, "copy file: open "},
		"no etc":   {func(t *testing.T, f *fakeInitrd) { os.RemoveAll(f.path(newRoot)) }, "write machine ID: "},
	} {
		f := newFakeInitrd(t, DiskArg)
		test.spoil(t, f)
		assert.ErrorContains(t, f.run(), test.text, name)
		assert.NotContains(t, f.printed(t), HandOver, name)
	}
	assert.EqualError(t, Init(), "not PID 1")
}

func TestMachineID(t *testing.T) {
	read := func(f *fakeInitrd) string {
		t.Helper()
		require.NoError(t, f.giveMachineID())
		return readTree(t, f.path(newRoot))["etc/machine-id"]
	}
	one, two := newFakeInitrd(t, ""), newFakeInitrd(t, "")
	first := read(one)
	assert.NotEqual(t, first, read(two), "each guest has its own")

	tree{upperDir + "/etc/machine-id": ""}.write(t, one.root)
	assert.NotEqual(t, first, read(one), "an empty one is none")
	os.WriteFile(one.path(newRoot+"/etc/machine-id"), []byte("kept"), 0o644)
	os.WriteFile(one.path(upperDir+"/etc/machine-id"), []byte("kept"), 0o644)
	assert.Equal(t, "kept", read(one), "a guest on a disk keeps its own")
}

func TestHostsOfTheImage(t *testing.T) {
	f := newFakeInitrd(t, "")
	tree{newRoot + "/etc/hosts": "the image's"}.write(t, f.root)
	require.NoError(t, f.giveHosts())
	assert.Equal(t, "the image's", readTree(t, f.path(newRoot))["etc/hosts"])
}

// TestModulesOfTheImage reads through links that are right only once the image is the
// root directory.
func TestModulesOfTheImage(t *testing.T) {
	f := newFakeInitrd(t, "")
	require.NoError(t, f.loadModules(imageDir, "ext4"))
	assert.Equal(t, []string{"module jbd2", "module ext4"}, f.done)

	outside := filepath.Join(t.TempDir(), "outside.ko")
	require.NoError(t, os.WriteFile(outside, []byte("outside"), 0o644))
	ext4 := f.path("/image/usr/lib/modules/" + kernelVersion(t) + "/k/ext4.ko")
	require.NoError(t, os.Remove(ext4))
	require.NoError(t, os.Symlink(outside, ext4))
	assert.ErrorIs(t, f.loadModules(imageDir, "ext4"), fs.ErrNotExist, "the image's own, or none")
}
