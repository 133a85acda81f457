package slots

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
)

// EmulatorMemory is what QEMU needs besides the guest's memory, in MiB.
const EmulatorMemory = 200

// HostQueue returns the queue of this user's machines, for one with that much memory in
// MiB. dir is the cache directory.
//
// The limit on slots is exact. The memory is a look at what is available and reserves
// none: two callers that look at once may both go on, and a running guest takes its
// memory bit by bit. The look keeps more machines from a host that is short of memory. It
// counts all of a guest's memory, although a fork shares most of it.
func HostQueue(dir string, memory int) (Queue, error) {
	n, err := Limit()
	if err != nil {
		return Queue{}, err
	}
	return Queue{
		Path:  filepath.Join(dir, "queue"),
		Slots: n,
		Fits:  func() bool { return MemoryAvailable() >= memory+EmulatorMemory },
	}, nil
}

// Limit returns how many machines of this user may run at once: the value of
// $VMTEST_SLOTS, or the number of cores, because an emulated machine keeps one core busy.
func Limit() (int, error) { return limit(os.Getenv("VMTEST_SLOTS")) }

func limit(variable string) (int, error) {
	if variable == "" {
		return runtime.NumCPU(), nil
	}
	n, err := strconv.Atoi(variable)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("VMTEST_SLOTS: %q: want an integer of at least 1", variable)
	}
	return n, nil
}

// MemoryAvailable returns the memory that the host has without swapping, in MiB. It
// returns enough if the host does not report it.
func MemoryAvailable() int {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return enough
	}
	return parseMemory(data)
}

// enough is the memory of a host that does not report it.
const enough = math.MaxInt

// parseMemory returns MemAvailable of proc_meminfo(5), in MiB.
func parseMemory(meminfo []byte) int {
	for line := range bytes.Lines(meminfo) {
		value, ok := bytes.CutPrefix(line, []byte("MemAvailable:"))
		if !ok {
			continue
		}
		value, ok = bytes.CutSuffix(bytes.TrimSpace(value), []byte(" kB"))
		kib, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 63)
		if !ok || err != nil {
			return enough
		}
		return int(kib >> 10)
	}
	return enough
}
