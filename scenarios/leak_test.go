package scenarios

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// times returns how often an endurance test repeats its work: the number in the
// environment variable, which "make soak" sets, or usual.
func times(t *testing.T, variable string, usual int) int {
	v := os.Getenv(variable)
	if v == "" {
		return usual
	}
	n, err := strconv.Atoi(v)
	require.NoError(t, err, variable)
	return n
}

// Many forks run, four at a time. None fails, and none leaves a file descriptor or a
// process. Under "make soak" the slowest takes at most five times the median.
func TestManyForks(t *testing.T) {
	hostSide(t)
	needMachine(t)
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
	fork() // opens what the process opens only once
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
		// Times are comparable only if nothing else runs on the host.
		assert.LessOrEqual(t, slowest, 5*median, "slowest of %d forks", n)
	}
	assert.LessOrEqual(t, descriptors(t), before, "open descriptors")
	assert.Empty(t, children(t), "child processes left")
}

// descriptors returns the number of open file descriptors of this process.
func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// children returns the IDs of this process's children.
func children(t *testing.T) []string {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	var all []string
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err == nil { // the thread may have ended
			for _, pid := range bytes.Fields(data) {
				all = append(all, string(pid))
			}
		}
	}
	return all
}
