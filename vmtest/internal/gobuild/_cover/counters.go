package cfile

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A program's counters are at the end of its data. shareCounters moves the pages there into a
// file in memory (memfd_create(2)), which a second process of the same program, the collector,
// holds open. So nothing that ends the program takes its counters away, not even SIGKILL.
//
// The two meet at a named pipe beside the executable, because a service can write to a pipe that
// it sees whatever else its sandbox forbids: DynamicUser=, ProtectSystem=strict, PrivateTmp=,
// PrivateNetwork=, RestrictAddressFamilies=none.

// Variables of the environment of a collector.
const (
	collectVar = "VMTEST_COVER_COLLECT" // the executable that it collects for
	resultsVar = "VMTEST_COVER_RESULTS" // the directory for what it collects
)

// before is so large that the linker puts it last of all variables but the counters. Their first
// page begins in it, and no other variable is in a page that is moved.
var before [64 << 20]byte

const (
	pageSize   = 64 << 10 // of any architecture
	tokenSize  = 32
	ackTimeout = 2 * time.Second
)

func memfdCreate(name string) (int, error) {
	number := map[string]uintptr{"amd64": 319, "arm64": 279}[runtime.GOARCH]
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	fd, _, errno := syscall.Syscall(number, uintptr(unsafe.Pointer(p)), 3, 0) // MFD_CLOEXEC | MFD_ALLOW_SEALING
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// area is where the counters are.
type area struct {
	counters []byte  // all of them
	first    uintptr // the address of their first page
	size     int     // of all their pages
}

// counterArea returns where the counters are, and false if other variables are there, too.
func counterArea() (area, bool) {
	blobs := getCovCounterList()
	if len(blobs) != 1 || blobs[0].Len == 0 {
		return area{}, false
	}
	start := uintptr(unsafe.Pointer(blobs[0].Counters))
	length := int(blobs[0].Len) * 4
	first := start &^ (pageSize - 1)
	begin := uintptr(unsafe.Pointer(&before[0]))
	end := begin + uintptr(len(before))
	if first < begin || end > start || start-end >= 64 {
		return area{}, false
	}
	size := (int(start-first) + length + pageSize - 1) &^ (pageSize - 1)
	if rest := first + uintptr(size); rest > start+uintptr(length)+pageSize {
		return area{}, false
	}
	return area{unsafe.Slice((*byte)(unsafe.Pointer(blobs[0].Counters)), length), first, size}, true
}

// meetingPoint returns the path of the pipe for a program.
func meetingPoint(executable string) string {
	name := "." + filepath.Base(executable) + "." + hex.EncodeToString(finalHash[:4]) + ".cover"
	return filepath.Join(filepath.Dir(executable), name)
}

// shareCounters gives the counters to a collector, if there is one, or is the collector.
func shareCounters() {
	if executable := os.Getenv(collectVar); executable != "" {
		if err := collect(executable); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	executable, err := os.Executable()
	if err != nil {
		return
	}
	pipe, err := syscall.Open(meetingPoint(executable), syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil { // no collector
		return
	}
	defer syscall.Close(pipe)
	a, ok := counterArea()
	if !ok {
		return
	}
	_ = a.share(pipe)
}

// share moves the counters into a file, and waits until the collector has that.
func (a area) share(pipe int) error {
	var random [tokenSize / 2]byte
	source, err := syscall.Open("/dev/urandom", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err == nil {
		_, err = syscall.Read(source, random[:])
		syscall.Close(source)
	}
	if err != nil {
		return err
	}
	token := hex.EncodeToString(random[:])
	fd, err := memfdCreate("vmtest-cover-" + token)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := syscall.Ftruncate(fd, int64(pageSize+a.size)); err != nil {
		return err
	}
	header, err := syscall.Mmap(fd, 0, pageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	defer syscall.Munmap(header)
	at := int64(pageSize) + int64(uintptr(unsafe.Pointer(&a.counters[0]))-a.first)
	if _, err := syscall.Pwrite(fd, a.counters, at); err != nil {
		return err
	}
	_, _, errno := syscall.Syscall6(syscall.SYS_MMAP, a.first, uintptr(a.size),
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_FIXED, uintptr(fd), pageSize)
	if errno != 0 {
		return errno
	}
	// The line before it is what others may have written.
	if _, err := syscall.Write(pipe, []byte("\n"+token+"\n")); err != nil {
		return err
	}
	ack := (*atomic.Uint32)(unsafe.Pointer(&header[0]))
	for end := time.Now().Add(ackTimeout); ack.Load() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	return nil
}
