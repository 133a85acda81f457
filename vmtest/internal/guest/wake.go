package guest

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// WakeRequest is the name of the control request that makes a booted guest a machine of its
// own. Its payload is a Wake, marshalled by the ssh package.
const WakeRequest = "wake"

// Wake is what a fork does not get from its snapshot.
type Wake struct {
	// UnixNano is the host's clock at the request. If it is 0, Asleep is used.
	UnixNano uint64
	// Asleep is the time that the machine was stopped, in nanoseconds. It is an
	// int64, because the host's clock may have been set back.
	Asleep   uint64
	Seed     string // random bytes
	Hostname string // "" leaves the host name as it is
	Network  string // a Network as Marshal returns it; "" is none
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
	case ClockRequest:
		return changeClock(payload)
	case TimeZoneRequest:
		return nil, setTimeZone("/etc", "/usr/share/zoneinfo", string(payload))
	case SystemdRequest:
		return nil, startSystemd()
	case NetworkRequest:
		return nil, setNetwork(payload, nil)
	case KernelLogRequest:
		return readKernelLog(payload)
	case JournalRequest:
		return nil, startJournal(payload)
	case JournalEndRequest:
		return ssh.Marshal(journalStream.end()), nil
	case JournalTailsRequest:
		return journalTails("/")
	default:
		return nil, fmt.Errorf("no such request: %s", name)
	}
}

func (w Wake) apply() error {
	pool, err := openPool()
	if err != nil {
		return err
	}
	defer unix.Close(pool)
	return w.applyWith(pool, nil)
}

// applyWith is apply with an open random pool, and a network that is ready or nil.
func (w Wake) applyWith(pool int, ready *readyNetwork) error {
	if err := w.setClock(); err != nil {
		return err
	}
	if w.Hostname != "" {
		if err := unix.Sethostname([]byte(w.Hostname)); err != nil {
			return fmt.Errorf("set host name: %w", err)
		}
	}
	if err := stir(pool, w.Seed); err != nil || w.Network == "" {
		return err
	}
	return setNetwork([]byte(w.Network), ready)
}

func (w Wake) setClock() error {
	if w.UnixNano != 0 {
		return setWallClock(time.Unix(0, int64(w.UnixNano)))
	}
	// This does not depend on how long the request was under way, which is long in a
	// fork. adjtimex(2) would add the time itself, and then start a kernel thread that
	// looks whether the hardware's clock has to be set.
	now, err := wallClock()
	if err != nil {
		return err
	}
	return setWallClock(now.Add(time.Duration(w.Asleep)))
}

// Requests of random(4).
const (
	rndAddEntropy = 0x40085203 // RNDADDENTROPY
	rndReseedCRNG = 0x5207     // RNDRESEEDCRNG
)

// openPool opens the kernel's random pool. The caller closes it.
func openPool() (int, error) {
	// Not by package os, which would call epoll for the file.
	fd, err := unix.Open("/dev/urandom", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open random pool: %w", err)
	}
	return fd, nil
}

// stir mixes seed into the kernel's random numbers and makes the kernel use it at
// once, so that two forks differ. With a VM generation ID, kernels from 5.18 on would
// do this by themselves. But that goes through ACPI, the kernel's log and the journal,
// which was nearly a fifth of the code that a fork runs: some 7,000 of the emulator's
// 38,000 translation blocks.
func stir(pool int, seed string) error {
	// struct rand_pool_info: entropy in bits, size in bytes, the bytes.
	info := binary.NativeEndian.AppendUint32(nil, uint32(8*len(seed)))
	info = binary.NativeEndian.AppendUint32(info, uint32(len(seed)))
	info = append(info, seed...)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pool), rndAddEntropy, uintptr(unsafe.Pointer(&info[0]))); errno != 0 {
		return fmt.Errorf("add entropy: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pool), rndReseedCRNG, 0); errno != 0 {
		return fmt.Errorf("reseed random numbers: %w", errno)
	}
	return nil
}
