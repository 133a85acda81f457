package cfile

import (
	"bufio"
	"fmt"
	"internal/coverage"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"unsafe"
)

// collector has the counters of processes that ran or run. Any process of the guest can give it
// anything.
type collector struct {
	mu      sync.Mutex
	own     area
	shared  []int    // files with the counters of processes that may still run
	sum     []uint32 // the counters of those that have ended
	ended   int      // how many have
	skipped int      // files that have no counters of this program
}

// collect says "ready" on its standard output, and takes the counters of all processes until its
// standard input has a line. Then it writes what go tool covdata reads.
func collect(executable string) error {
	own, ok := counterArea()
	if !ok {
		return fmt.Errorf("the counters of this program are not where they should be")
	}
	pipe := meetingPoint(executable)
	if err := syscall.Mkfifo(pipe, 0o666); err != nil && err != syscall.EEXIST {
		return fmt.Errorf("make %s: %w", pipe, err)
	}
	if err := os.Chmod(pipe, 0o666); err != nil {
		return err
	}
	from, err := os.OpenFile(pipe, os.O_RDWR, 0) // a writer of its own, so that it never ends
	if err != nil {
		return err
	}
	c := collector{own: own, sum: make([]uint32, len(own.counters)/4)}
	go func() {
		for in := bufio.NewReader(from); ; {
			line, err := in.ReadSlice('\n')
			if err != nil && err != bufio.ErrBufferFull {
				return
			}
			if len(line) == tokenSize+1 {
				c.take(string(line[:tokenSize]))
			}
		}
	}()
	fmt.Println("ready")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("told %q: %w", line, err)
	}
	n, err := c.write(os.Getenv(resultsVar))
	if err != nil {
		return err
	}
	fmt.Println("wrote", n)
	if c.skipped > 0 {
		fmt.Println("skipped", c.skipped)
	}
	return nil
}

// take opens the file with that token in the process that has it, and tells the process.
func (c *collector) take(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mergeEnded()
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range slices.Backward(links) {
		// "/memfd:NAME (deleted)" (memfd_create(2))
		if name, err := os.Readlink(link); err != nil || name != "/memfd:vmtest-cover-"+token+" (deleted)" {
			continue
		}
		fd, err := syscall.Open(link, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		var info syscall.Stat_t
		if err := syscall.Fstat(fd, &info); err != nil || info.Size != int64(pageSize+c.own.size) {
			syscall.Close(fd)
			c.skipped++
			return
		}
		c.shared = append(c.shared, fd)
		_, _ = syscall.Pwrite(fd, []byte{1, 1, 1, 1}, 0)
		return
	}
}

// mergeEnded gives up the files of processes that have ended, so that a service that is started
// again and again does not fill the memory. Nothing but a process that has the file in its
// memory keeps it from being sealed.
func (c *collector) mergeEnded() {
	const addSeals, sealWrite = 1033, 8 // F_ADD_SEALS, F_SEAL_WRITE
	c.shared = slices.DeleteFunc(c.shared, func(fd int) bool {
		_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), addSeals, sealWrite)
		if errno == syscall.EBUSY {
			return false
		}
		if c.merge(fd) {
			c.ended++
		} else {
			c.skipped++
		}
		syscall.Close(fd)
		return true
	})
}

// merge adds the counters in a file to the sum, and returns false if it has none.
func (c *collector) merge(fd int) bool {
	counters := make([]uint32, len(c.sum))
	data := unsafe.Slice((*byte)(unsafe.Pointer(&counters[0])), len(c.own.counters))
	at := pageSize + int64(uintptr(unsafe.Pointer(&c.own.counters[0]))-c.own.first)
	for range 3 { // a process that runs may be about to write the head of a function
		if n, err := syscall.Pread(fd, data, at); err != nil || n != len(data) {
			return false
		}
		if c.fits(counters) {
			functions(counters, func(begin, end int) { c.add(counters, begin, end) })
			return true
		}
	}
	return false
}

// fits reports whether counters are of the same functions as the sum.
func (c *collector) fits(counters []uint32) bool {
	same := true
	wellFormed := functions(counters, func(begin, _ int) {
		head := c.sum[begin : begin+coverage.FirstCtrOffset]
		if head[coverage.NumCtrsOffset] != 0 && !slices.Equal(head, counters[begin:begin+coverage.FirstCtrOffset]) {
			same = false
		}
	})
	return wellFormed && same
}

// add adds the counters of a function.
func (c *collector) add(counters []uint32, begin, end int) {
	first := begin + coverage.FirstCtrOffset
	copy(c.sum[begin:first], counters[begin:first])
	for i := first; i < end; i++ {
		if cmode == coverage.CtrModeSet {
			c.sum[i] |= counters[i]
		} else {
			c.sum[i] = uint32(min(uint64(c.sum[i])+uint64(counters[i]), math.MaxUint32))
		}
	}
}

// functions calls do with the bounds of each function that ran, as VisitFuncs of this package
// finds them: how many counters it has, its package and which it is of that, and its counters.
// It returns false if the counters are not of that form.
func functions(counters []uint32, do func(begin, end int)) bool {
	for i := 0; i < len(counters); i++ {
		number := uint64(counters[i])
		if number == 0 {
			continue
		}
		end := uint64(i) + coverage.FirstCtrOffset + number
		if end > uint64(len(counters)) || counters[i+coverage.PkgIdOffset] == 0 {
			return false
		}
		do(i, int(end))
		i = int(end) - 1
	}
	return true
}

// write writes the counters of all processes into dir, by the code that would have done so in
// each process itself, and returns how many processes there were.
func (c *collector) write(dir string) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	if err := WriteMetaDir(dir); err != nil {
		return 0, err
	}
	for _, fd := range c.shared {
		if c.merge(fd) {
			c.ended++
		} else {
			c.skipped++
		}
	}
	c.shared = nil
	if c.ended == 0 {
		return 0, nil
	}
	copy(c.own.counters, unsafe.Slice((*byte)(unsafe.Pointer(&c.sum[0])), len(c.own.counters)))
	return c.ended, emitCounterDataToDirectory(dir) // WriteCountersDir refuses -covermode=set
}
