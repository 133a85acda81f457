package guest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WakeRequest is the name of the control request with which the host turns a copy
// of a machine into a machine of its own; its payload is a Wake as JSON.
const WakeRequest = "wake"

// Wake is what a copy of a machine cannot know by itself.
type Wake struct {
	UnixNano int64  `json:"unixNano"` // the host's clock when it asked
	Seed     []byte `json:"seed"`     // random bytes of the host's
	Hostname string `json:"hostname"` // "" keeps the one it has
}

// control answers the host's control requests.
func control(name string, payload []byte) ([]byte, error) {
	switch name {
	case WakeRequest:
		var w Wake
		if err := json.Unmarshal(payload, &w); err != nil {
			return nil, fmt.Errorf("parse wake request: %w", err)
		}
		return nil, w.apply()
	default:
		return nil, fmt.Errorf("no such request: %s", name)
	}
}

func (w Wake) apply() error {
	ts := unix.NsecToTimespec(w.UnixNano)
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("set clock to %v: %w", time.Unix(0, w.UnixNano), err)
	}
	if w.Hostname != "" {
		if err := unix.Sethostname([]byte(w.Hostname)); err != nil {
			return fmt.Errorf("set host name: %w", err)
		}
	}
	return stir(w.Seed)
}

// Requests of random(4).
const (
	rndAddEntropy = 0x40085203 // RNDADDENTROPY
	rndReseedCRNG = 0x5207     // RNDRESEEDCRNG, Linux 4.14
)

// stir mixes seed into the kernel's random numbers and makes it use them at once,
// so that two copies of one machine part ways. Kernels from 5.18 on do the same by
// themselves when they see a new VM generation ID; older ones only so.
func stir(seed []byte) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open random pool: %w", err)
	}
	defer f.Close()
	// struct rand_pool_info: entropy in bits, size in bytes, the bytes.
	info := binary.NativeEndian.AppendUint32(nil, uint32(8*len(seed)))
	info = binary.NativeEndian.AppendUint32(info, uint32(len(seed)))
	info = append(info, seed...)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), rndAddEntropy, uintptr(unsafe.Pointer(&info[0]))); errno != 0 {
		return fmt.Errorf("add entropy: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), rndReseedCRNG, 0); errno != 0 {
		return fmt.Errorf("reseed random numbers: %w", errno)
	}
	return nil
}
