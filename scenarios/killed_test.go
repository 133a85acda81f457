package scenarios

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/netstack"
)

// A killed test binary leaves no process, no temporary file, and no unfinished snapshot or
// image. The test kills it at one of the first 50 events on files of the cache, each time at
// another, every third of them by default: while it takes a slot, opens the snapshot, starts QEMU, loads the state of
// the devices, has two machines and a station talk in a network, pulls a cable and closes
// the machines.
func TestKilledTestLeavesNothing(t *testing.T) {
	hostSide(t)
	needMachine(t)
	const mark, once = "VMTEST_KILLED_TEST", "once"
	if as := os.Getenv(mark); as != "" {
		for t.Run("", talk) && as != once {
		}
		return
	}
	cache := t.TempDir() // no other process uses it, or its queue
	command := func(as, temp string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledTestLeavesNothing$", "-test.timeout=10m")
		cmd.Env = append(os.Environ(), mark+"="+as, "VMTEST_IMAGE="+imageDir(t), "VMTEST_CACHE="+cache, "TMPDIR="+temp)
		return cmd
	}
	out, err := command(once, t.TempDir()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	before, interfaces := cacheFiles(t, cache), fileNames(t, "/sys/class/net")
	for i := range times(t, "VMTEST_KILLS", 14) {
		temp := t.TempDir()
		id := fmt.Sprintf("%d-%d", os.Getpid(), i)
		at := 1 + i*3%50 // 50 kills take each event once, because 3 and 50 are coprime
		event := killAtEvent(t, command(id, temp), at, cache)
		t.Logf("kill %d at event %d: %s", i+1, at, event)

		end := time.Now().Add(2 * time.Second)
		left := marked(t, mark+"="+id)
		for len(left) > 0 && time.Now().Before(end) {
			for pid := range left {
				waitExit(t, pid, time.Until(end))
			}
			left = marked(t, mark+"="+id)
		}
		assert.Empty(t, left, "processes left 2 s after kill %d", i+1)
		assert.Empty(t, fileNames(t, temp), "temporary files left by kill %d", i+1)
		assert.Equal(t, before, cacheFiles(t, cache), "files in the cache after kill %d", i+1)
	}
	assert.Equal(t, interfaces, fileNames(t, "/sys/class/net"), "network interfaces of the host")
}

// talk has two machines and the test itself talk in a network. After each step it opens a file
// of the cache, at which the process may be killed.
func talk(t *testing.T) {
	step := func() {
		f, err := os.Open(filepath.Join(os.Getenv("VMTEST_CACHE"), "queue"))
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	peer := netstack.Start(t, n, vmtest.JoinConfig{Name: "peer"})
	listener, err := peer.Listen("tcp", ":9091")
	require.NoError(t, err)
	networks := []*vmtest.Network{n}
	one := vmtest.Start(t, vmtest.Config{Hostname: "one", Networks: networks})
	step()
	two := vmtest.Start(t, vmtest.Config{Hostname: "two", Networks: networks})
	step()
	conn := two.Dial(t, "tcp", "peer:9091") // from inside the guest
	accepted, err := listener.Accept()
	require.NoError(t, err)
	step()
	_, err = io.WriteString(accepted, "hello\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
	step()
	_, err = two.Machine.Dial(t.Context(), "tcp", "one:9091")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	step()
	one.SetCable(t, one.Interface(t, n), false)
	step()
	require.NoError(t, two.Machine.Close())
	step()
}

// killAtEvent starts cmd and kills it at the n-th event on a file of the cache or of its
// snapshots. It returns the event as text.
func killAtEvent(t *testing.T, cmd *exec.Cmd, n int, cache string) string {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	require.NoError(t, err)
	watch := os.NewFile(uintptr(fd), "inotify")
	defer watch.Close()
	dirs, err := filepath.Glob(filepath.Join(cache, "snapshots", "*"))
	require.NoError(t, err)
	paths := make(map[int32]string)
	for _, dir := range append(dirs, cache) {
		wd, err := unix.InotifyAddWatch(fd, dir, unix.IN_OPEN|unix.IN_CLOSE)
		require.NoError(t, err, dir)
		paths[int32(wd)] = dir
	}

	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		watch.Close() // ends the loop below if cmd ends too early
	}()
	events := bufio.NewReaderSize(watch, 64<<10)
	var file string
	var event unix.InotifyEvent
	for i := 0; i < n && err == nil; {
		if err = binary.Read(events, binary.NativeEndian, &event); err != nil {
			break
		}
		name := make([]byte, event.Len)
		_, err = io.ReadFull(events, name)
		if event.Mask&unix.IN_ISDIR == 0 {
			file = filepath.Join(paths[event.Wd], string(bytes.TrimRight(name, "\x00")))
			i++
		}
	}
	require.NoError(t, cmd.Process.Kill())
	require.NoError(t, err, "read event %d", n)
	var exit *exec.ExitError
	require.ErrorAs(t, <-ended, &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "signal that ended the test binary")
	if event.Mask&unix.IN_OPEN != 0 {
		return "open " + file
	}
	return "close " + file
}

// waitExit waits until the process ends, for at most the given time.
func waitExit(t *testing.T, pid int, limit time.Duration) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	require.NoError(t, err)
	defer unix.Close(fd)
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(limit, 0).Milliseconds()))
	if err != unix.EINTR { // the caller looks again
		require.NoError(t, err)
	}
}

// fileNames returns the names of the files in a directory.
func fileNames(t *testing.T, dir string) []string {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// marked returns the processes that have the mark in their environment, by ID: the test
// binary and its descendants.
func marked(t *testing.T, mark string) map[int]string {
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	found := make(map[int]string)
	for _, path := range environs {
		env, err := os.ReadFile(path)
		if err == nil && bytes.Contains(env, []byte(mark+"\x00")) {
			dir := filepath.Dir(path)
			pid, err := strconv.Atoi(filepath.Base(dir))
			require.NoError(t, err)
			name, _ := os.ReadFile(filepath.Join(dir, "comm"))
			found[pid] = string(bytes.TrimSpace(name))
		}
	}
	return found
}

// cacheFiles returns the paths of all files in a cache.
func cacheFiles(t *testing.T, cache string) []string {
	var files []string
	require.NoError(t, fs.WalkDir(os.DirFS(cache), ".", func(path string, _ fs.DirEntry, err error) error {
		files = append(files, path)
		return err
	}))
	return files
}
