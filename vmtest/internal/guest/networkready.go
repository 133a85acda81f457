package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readyNetwork is what a snapshot has prepared for the networks of its forks, in which less code
// runs then: their interfaces are down and settled, and what changes them and the names of hosts
// is open.
type readyNetwork struct {
	sockets sockets
	indexes []int32    // by NIC; 0 is an interface that is not ready
	hosts   *openHosts // nil if it is not ready
}

// prepareNetwork prepares the interfaces of the guest. It returns nil if there are none. What
// fails here is not ready, and fails again in the fork that needs it.
func prepareNetwork() *readyNetwork {
	s, err := openSockets()
	if err != nil {
		return nil
	}
	r := &readyNetwork{sockets: s}
	for nic := uint8(0); ; nic++ {
		up, err := s.isUp(nic)
		if err != nil { // no such interface
			break
		}
		index, err := s.index(nic)
		if up || err != nil || settleIPv6(InterfaceName(int(nic))) != nil {
			index = 0
		}
		r.indexes = append(r.indexes, index)
	}
	if r.indexes == nil {
		r.close()
		return nil
	}
	r.hosts, _ = openHostsFile(hostsFile)
	return r
}

// index returns the kernel's number of an interface that is ready.
func (r *readyNetwork) index(nic uint8) (int32, bool) {
	if r == nil || int(nic) >= len(r.indexes) || r.indexes[nic] == 0 {
		return 0, false
	}
	return r.indexes[nic], true
}

// awake gives up what would be in the way of a guest that runs. The rest costs less to keep than
// to close.
func (r *readyNetwork) awake() {
	if r != nil {
		r.hosts.close()
	}
}

func (r *readyNetwork) close() {
	if r == nil {
		return
	}
	r.sockets.close()
	r.hosts.close()
}

// openHosts is a file in the format of hosts(5) that is open at its end.
type openHosts struct {
	fd     int
	prefix string // ends its last line
}

// openHostsFile opens a file that has no line of an earlier network.
func openHostsFile(path string) (*openHosts, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(text, []byte(hostMark)) {
		return nil, errors.New("it has names of an earlier network")
	}
	h := new(openHosts)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		h.prefix = "\n"
	}
	if h.fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return h, nil
}

// add adds lines, all at once, so that no lookup sees a part of one. It closes the file, which
// would keep its file system from becoming read-only.
func (h *openHosts) add(lines []byte) error {
	defer h.close()
	text := append([]byte(h.prefix), lines...)
	n, err := unix.Write(h.fd, text)
	if err == nil && n < len(text) {
		err = fmt.Errorf("%d of %d bytes fit", n, len(text))
	}
	return err
}

func (h *openHosts) close() {
	if h != nil && h.fd >= 0 {
		unix.Close(h.fd)
		h.fd = -1
	}
}
