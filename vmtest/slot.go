package vmtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/slots"
)

// acquireSlot waits until the host has a core and memory to spare for one more
// machine, among all machines of this user.
//
// The slots are exact. The memory is a look at what is free and reserves none: two
// that look at once may both go ahead, and a guest that runs takes its memory bit by
// bit. It keeps a host that is short of memory from being given more; the look is for
// all of a guest's memory, of which a fork shares most with the others.
func acquireSlot(ctx context.Context, config Config) (*slots.Ticket, error) {
	n, err := slotCount()
	if err != nil {
		return nil, err
	}
	cache, err := images.CacheDir()
	if err != nil {
		return nil, err
	}
	queue := slots.Queue{
		Path:  filepath.Join(cache, "queue"),
		Slots: n,
		Fits:  func() bool { return memoryAvailable() >= config.Memory+emulatorMemory },
	}
	var before atomic.Int32
	notice := time.AfterFunc(waitNoticed, func() {
		config.notice(fmt.Sprintf(
			"waiting for a slot: %d machines are before this one, and %d may run at once (VMTEST_SLOTS)", before.Load(), n))
	})
	defer notice.Stop()
	return queue.Acquire(ctx, func(n int) { before.Store(int32(n)) })
}

// waitNoticed is how long a wait may last before somebody asks what is going on.
const waitNoticed = 10 * time.Second

// emulatorMemory is what QEMU needs besides the guest's memory, in MiB.
const emulatorMemory = 200

// slotCount is how many machines may run at once: one a core, for under emulation
// each keeps one busy, or what $VMTEST_SLOTS says.
func slotCount() (int, error) {
	v := os.Getenv("VMTEST_SLOTS")
	if v == "" {
		return runtime.NumCPU(), nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("read VMTEST_SLOTS: %q is not a number of machines from 1 on", v)
	}
	return n, nil
}

// memoryAvailable is what the host can give without swapping, in MiB
// (proc_meminfo(5)). A host that does not say is taken to have enough.
func memoryAvailable() int {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 1 << 30
	}
	for line := range bytes.Lines(data) {
		var kib int
		if n, _ := fmt.Sscanf(string(line), "MemAvailable: %d kB", &kib); n == 1 {
			return kib >> 10
		}
	}
	return 1 << 30
}
