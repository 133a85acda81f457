package scenarios

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/lack"
)

// Evidence on a full disk lacks the machine, says so, and has all else. The disk may be full
// from the beginning, or become so while the machine is written.
func TestResumeOnFullDisk(t *testing.T) {
	hostSide(t)
	needMachine(t)
	if dir := os.Getenv(fullDisk); dir != "" {
		mountDisk(t, dir, "size=100m,mode=700")
		assertKeptWithoutMachine(t, dir, `no space: \S+ has \d+ MB free, a new snapshot needs \d+ MB`)
		assert.NoError(t, unix.Unmount(dir, unix.MNT_DETACH))

		mountDisk(t, dir, "size=560m,mode=700")
		ctx, cancel := context.WithCancel(t.Context())
		var others sync.WaitGroup
		others.Go(func() { fillAfter(ctx, t, dir, 8<<20) })
		assertKeptWithoutMachine(t, dir, "no space: .*no space left on device")
		cancel()
		others.Wait()
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestResumeOnFullDisk$", "-test.v", "-test.timeout=8m")
	cmd.Env = append(os.Environ(), fullDisk+"="+t.TempDir())
	// The mounts vanish with the process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's namespace has another user's cache")
	}
	output, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		lack.Skip(t, fmt.Sprintf("this user cannot make mount namespaces: %v", err))
	}
	require.NoError(t, err, "output:\n%s", output)
	if testing.Verbose() {
		t.Logf("%s", output)
	}
}

func assertKeptWithoutMachine(t *testing.T, place, why string) {
	t.Helper()
	dir, log := failAndKeep(t, place)
	assert.Regexp(t, `\n *the machine is not saved: `+why+`.*\n *evidence: `, log)
	assert.FileExists(t, filepath.Join(dir, "timeline.txt"))
	for _, name := range fileNames(t, dir) {
		assert.NotContains(t, name, "machine-", "unfinished")
	}
	assert.NoDirExists(t, filepath.Join(dir, "machine"))
	if t.Failed() {
		t.Log(log)
	}
}

// A test that is killed while it keeps the machine leaves no process, and no machine that
// could be taken for a whole one.
func TestResumeOfAKilledTest(t *testing.T) {
	hostSide(t)
	binary := vmtestBinary(t)
	for _, at := range []struct {
		name string
		mask uint32
		says string // "" if the machine is whole
	}{
		{"listening.txt", unix.IN_CLOSE_WRITE, "has no machine: run the test with VMTEST_EVIDENCE_SNAPSHOT=1"},
		{".machine-", unix.IN_CREATE, "has no machine: run the test with VMTEST_EVIDENCE_SNAPSHOT=1"},
		{"machine", unix.IN_MOVED_TO, ""},
	} {
		t.Run(at.name, func(t *testing.T) {
			place := t.TempDir()
			cmd := newFailure(t, place)
			mark := fmt.Sprintf("VMTEST_KILLED_TEST=%d-%s", os.Getpid(), at.name)
			cmd.Env = append(cmd.Env, mark)
			watch := newWatch(t)
			watch.add(place, unix.IN_CREATE)
			require.NoError(t, cmd.Start())
			dir := filepath.Join(place, watch.await(unix.IN_CREATE, ""))
			watch.add(dir, unix.IN_CREATE|unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO)
			watch.await(at.mask, at.name)
			require.NoError(t, cmd.Process.Kill())
			cmd.Wait()
			end := time.Now().Add(2 * time.Second)
			for pid := range marked(t, mark) {
				waitExit(t, pid, time.Until(end))
			}
			assert.Empty(t, marked(t, mark), "processes")
			got := resume(t, binary, nil, dir, "--", "true")
			if at.says == "" {
				assert.Equal(t, 0, got.status, got.err)
				return
			}
			assert.Contains(t, got.err, at.says)
			assert.Equal(t, 1, got.status)
		})
	}
}

// watch tells of files in directories (inotify(7)).
type watch struct {
	t *testing.T
	f *os.File
}

func newWatch(t *testing.T) watch {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	require.NoError(t, err)
	w := watch{t, os.NewFile(uintptr(fd), "inotify")}
	t.Cleanup(func() { w.f.Close() })
	return w
}

func (w watch) add(dir string, mask uint32) {
	_, err := unix.InotifyAddWatch(int(w.f.Fd()), dir, mask)
	require.NoError(w.t, err)
}

// await waits for an event on a file whose name begins with prefix, and returns the name.
func (w watch) await(mask uint32, prefix string) string {
	require.NoError(w.t, w.f.SetReadDeadline(time.Now().Add(5*time.Minute)))
	buf := make([]byte, 64<<10)
	for {
		n, err := w.f.Read(buf)
		require.NoError(w.t, err, "wait for %s", prefix)
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			of := binary.NativeEndian.Uint32(b[4:])
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:end]), "\x00")
			if of&mask != 0 && strings.HasPrefix(name, prefix) {
				return name
			}
			b = b[end:]
		}
	}
}
