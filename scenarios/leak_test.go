package scenarios

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest"
)

// times is how often a test of endurance does its thing: a few times, or as often as
// the environment says ("make soak" says more).
func times(t *testing.T, variable string, few int) int {
	v := os.Getenv(variable)
	if v == "" {
		return few
	}
	n, err := strconv.Atoi(v)
	require.NoError(t, err, variable)
	return n
}

// Many forks, four at a time: none fails, none leaves a descriptor or a process, and
// under "make soak" the slowest is not far from the median.
func TestManyForks(t *testing.T) {
	n := times(t, "VMTEST_FORKS", 20)
	t.Setenv("VMTEST_SLOTS", "4")
	fork := func() time.Duration {
		begin := time.Now()
		m, err := vmtest.Launch(t.Context(), vmtest.Config{})
		if !assert.NoError(t, err) {
			return 0
		}
		_, err = m.Run(t.Context(), "true")
		assert.NoError(t, err)
		took := time.Since(begin)
		assert.NoError(t, m.Close())
		return took
	}
	fork() // what the process opens once is open from here on
	before := descriptors(t)

	var mu sync.Mutex
	var took []time.Duration
	jobs := make(chan struct{}, n)
	for range n {
		jobs <- struct{}{}
	}
	close(jobs)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range jobs {
				d := fork()
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			}
		})
	}
	workers.Wait()

	slices.Sort(took)
	median, slowest := took[len(took)/2], took[len(took)-1]
	t.Logf("%d forks: median %v, slowest %v", n, median, slowest)
	if os.Getenv("VMTEST_FORKS") != "" {
		// A bound on time is for a run that has the machine to itself.
		assert.LessOrEqual(t, slowest, 5*median, "slowest of %d forks", n)
	}
	assert.LessOrEqual(t, descriptors(t), before, "open descriptors")
	assert.Empty(t, children(t), "processes left")
}

func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// children are the processes whose parent is this one.
func children(t *testing.T) []string {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	var all []string
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err == nil { // a thread may end meanwhile
			for _, pid := range bytes.Fields(data) {
				all = append(all, string(pid))
			}
		}
	}
	return all
}

// A test binary that is killed, at whatever moment, leaves no process and no temporary
// file behind, and no snapshot or image in the making.
func TestKilledTestLeavesNothing(t *testing.T) {
	const mark = "VMTEST_KILLED_TEST"
	if os.Getenv(mark) != "" {
		for {
			g := vmtest.Start(t, vmtest.Config{})
			g.Run(t, "true")
			require.NoError(t, g.Machine.Close())
		}
	}
	vmtest.Start(t, vmtest.Config{}) // the image and the snapshot are there from here on
	before := cacheFiles(t)
	for i := range times(t, "VMTEST_KILLS", 5) {
		temp := t.TempDir()
		id := mark + "=" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(i)
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledTestLeavesNothing$")
		// This test holds a slot itself.
		cmd.Env = append(os.Environ(), id, "VMTEST_SLOTS=4", "TMPDIR="+temp)
		require.NoError(t, cmd.Start())
		// Not a wait for anything: the moment is meant to be any.
		time.Sleep(time.Duration(rand.Int64N(int64(4 * time.Second))))
		require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
		assert.Error(t, cmd.Wait(), "the test binary was killed")

		deadline := time.Now().Add(2 * time.Second)
		left := append(marked(t, id), inFolder(t, temp)...)
		for len(left) > 0 && time.Now().Before(deadline) {
			// There is no event for the end of somebody else's process.
			time.Sleep(10 * time.Millisecond)
			left = append(marked(t, id), inFolder(t, temp)...)
		}
		assert.Empty(t, left, "processes and temporary files left 2 s after kill %d", i)
		assert.Equal(t, before, cacheFiles(t), "files in the cache after kill %d", i)
	}
}

// inFolder lists what a folder holds, by name.
func inFolder(t *testing.T, dir string) []string {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// marked lists the processes that have the mark in their environment: the test binary
// and all that it started.
func marked(t *testing.T, mark string) []string {
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	var found []string
	for _, path := range environs {
		env, err := os.ReadFile(path)
		if err == nil && bytes.Contains(env, []byte(mark+"\x00")) {
			name, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm"))
			found = append(found, filepath.Base(filepath.Dir(path))+" "+string(bytes.TrimSpace(name)))
		}
	}
	return found
}

// cacheFiles lists the snapshots and images, finished and not.
func cacheFiles(t *testing.T) []string {
	cache, err := host.CacheDir()
	require.NoError(t, err)
	var files []string
	for _, pattern := range []string{"snapshots/*", "snapshots/.*", "images/.*"} {
		found, err := filepath.Glob(filepath.Join(cache, pattern))
		require.NoError(t, err)
		files = append(files, found...)
	}
	return files
}
