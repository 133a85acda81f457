package slots

import (
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHostQueue(t *testing.T) {
	t.Setenv("VMTEST_SLOTS", "")
	q, err := HostQueue("/cache", 512)
	require.NoError(t, err)
	assert.Equal(t, "/cache/queue", q.Path)
	assert.Equal(t, runtime.NumCPU(), q.Slots)
	t.Setenv("VMTEST_SLOTS", "7")
	q, err = HostQueue("/cache", 1<<30)
	require.NoError(t, err)
	assert.Equal(t, 7, q.Slots)
	assert.False(t, q.Fits(), "a machine of a pebibyte")
	for _, v := range []string{"0", "-1", "many", "1.5", " 2"} {
		t.Setenv("VMTEST_SLOTS", v)
		_, err = HostQueue("/cache", 512)
		assert.EqualError(t, err, `VMTEST_SLOTS: "`+v+`": want an integer of at least 1`)
	}
}

func TestMemoryAvailable(t *testing.T) {
	assert.Equal(t, 3906, parseMemory([]byte("MemTotal: 8000000 kB\nMemAvailable:    4000000 kB\nBuffers: 1 kB\n")))
	for _, text := range []string{"", "MemFree: 1 kB\n", "MemAvailable: much kB\n", "MemAvailable: -5 kB\n", "MemAvailable: 5\n"} {
		assert.Equal(t, enough, parseMemory([]byte(text)), text)
	}
	if _, err := os.Stat("/proc/meminfo"); err == nil {
		assert.Less(t, MemoryAvailable(), 1<<30)
	}
}

func FuzzMemory(f *testing.F) {
	f.Add([]byte("MemTotal: 8000000 kB\nMemAvailable:    4000000 kB\n"))
	f.Add([]byte("MemAvailable:\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		assert.GreaterOrEqual(t, parseMemory(data), 0)
	})
}
