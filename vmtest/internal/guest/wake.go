package guest

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// WakeRequest is the name of the control request with which the host turns a copy
// of a machine into a machine of its own; its payload is a Wake, marshalled by
// the ssh package.
const WakeRequest = "wake"

// Wake is what a copy of a machine cannot know by itself.
type Wake struct {
	UnixNano uint64 // the host's clock when it asked; 0 when Asleep tells
	// Asleep is for how many nanoseconds it stood still, an int64: the host's clock
	// may have gone back.
	Asleep   uint64
	Seed     string // random bytes of the host's
	Hostname string // "" keeps the one it has
}

// control answers the host's control requests.
func control(name string, payload []byte) ([]byte, error) {
	switch name {
	case WakeRequest:
		var w Wake
		if err := ssh.Unmarshal(payload, &w); err != nil {
			return nil, fmt.Errorf("parse wake request: %w", err)
		}
		return nil, w.apply()
	case KernelLogRequest:
		return readKernelLog(payload)
	default:
		return nil, fmt.Errorf("no such request: %s", name)
	}
}

func (w Wake) apply() error {
	if err := w.setClock(); err != nil {
		return err
	}
	if w.Hostname != "" {
		if err := unix.Sethostname([]byte(w.Hostname)); err != nil {
			return fmt.Errorf("set host name: %w", err)
		}
	}
	return stir(w.Seed)
}

func (w Wake) setClock() error {
	if w.UnixNano != 0 {
		ts := unix.NsecToTimespec(int64(w.UnixNano))
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
			return fmt.Errorf("set clock to %v: %w", time.Unix(0, int64(w.UnixNano)), err)
		}
		return nil
	}
	// How long this request took on its way does not matter here, and in a copy of a
	// machine it takes a while.
	asleep := unix.NsecToTimespec(int64(w.Asleep))
	_, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, &unix.Timex{
		Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO,
		Time: unix.Timeval{ // in nanoseconds then, adjtimex(2)
			Sec:  asleep.Sec,
			Usec: asleep.Nsec,
		},
	})
	if err != nil {
		return fmt.Errorf("put clock forward by %v: %w", time.Duration(w.Asleep), err)
	}
	return nil
}

// Requests of random(4).
const (
	rndAddEntropy = 0x40085203 // RNDADDENTROPY
	rndReseedCRNG = 0x5207     // RNDRESEEDCRNG
)

// stir mixes seed into the kernel's random numbers and makes it use them at once,
// so that two copies of one machine part ways. A VM generation ID would have kernels
// from 5.18 on do that by themselves, but its way through ACPI, the kernel's log and
// the journal was nearly a fifth of the code that a fork has to run: some 7,000 of
// 38,000 of the emulator's translation blocks.
func stir(seed string) error {
	// Not by package os, which asks epoll about files too.
	fd, err := unix.Open("/dev/urandom", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open random pool: %w", err)
	}
	defer unix.Close(fd)
	// struct rand_pool_info: entropy in bits, size in bytes, the bytes.
	info := binary.NativeEndian.AppendUint32(nil, uint32(8*len(seed)))
	info = binary.NativeEndian.AppendUint32(info, uint32(len(seed)))
	info = append(info, seed...)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), rndAddEntropy, uintptr(unsafe.Pointer(&info[0]))); errno != 0 {
		return fmt.Errorf("add entropy: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), rndReseedCRNG, 0); errno != 0 {
		return fmt.Errorf("reseed random numbers: %w", errno)
	}
	return nil
}
