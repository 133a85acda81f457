package agent

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/passwd"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// forwardDial connects a channel to any socket, from any source.
func (c *connection) forwardDial(channel ssh.NewChannel) {
	var target wire.Dial
	if err := ssh.Unmarshal(channel.ExtraData(), &target); err != nil {
		_ = channel.Reject(ssh.ConnectionFailed, "read address: "+err.Error())
		return
	}
	switch target.Network {
	case "fifo":
		c.forwardFIFO(channel, target)
	case "mqueue":
		c.forwardQueue(channel, target)
	default:
		c.forward(channel, target)
	}
}

// dialFrom connects from a source, as a user.
func (c *connection) dialFrom(target wire.Dial) (conn net.Conn, err error) {
	dialer := net.Dialer{Timeout: connectTimeout}
	switch target.Network {
	case "vsock":
		err = asUser(target.User, func() (err error) {
			conn, err = dialVsock(c.ctx, target.Address, target.Source)
			return err
		})
		return conn, err
	case "unixgram":
		// A socket without an address gets no answer (unix(7)).
		if target.Source == "" {
			target.Source = "@vmtest-" + rand.Text()
		}
		fallthrough
	case "unix", "unixpacket":
		if target.Source != "" {
			dialer.LocalAddr = &net.UnixAddr{Net: target.Network, Name: target.Source}
		}
	default:
		if target.Source == "" {
			break
		}
		source, err := sourceAddr(target.Network, target.Source)
		if err != nil {
			return nil, err
		}
		dialer.LocalAddr = source
	}
	err = asUser(target.User, func() (err error) {
		conn, err = dialer.DialContext(c.ctx, target.Network, target.Address)
		return err
	})
	return conn, err
}

// sourceAddr parses an IP address, with a port or without.
func sourceAddr(network, source string) (net.Addr, error) {
	at, err := netip.ParseAddrPort(source)
	if err != nil {
		ip, errIP := netip.ParseAddr(source)
		if errIP != nil {
			return nil, fmt.Errorf("source %q: %w", source, err)
		}
		at = netip.AddrPortFrom(ip, 0)
	}
	if wire.Packets(network) {
		return net.UDPAddrFromAddrPort(at), nil
	}
	return net.TCPAddrFromAddrPort(at), nil
}

// asUser calls f on a thread with the credentials of a user, which the kernel notes when a
// socket is connected. "" is this process's own.
func asUser(name string, f func() error) error {
	if name == "" {
		return f()
	}
	users, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return fmt.Errorf("look up user %q: %w", name, err)
	}
	u, err := passwd.Find(passwd.Users(string(users)), name)
	if err != nil {
		return err
	}
	groups, err := os.ReadFile("/etc/group")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look up groups of user %q: %w", name, err)
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		err := become(u, passwd.Groups(string(groups), u))
		if err == nil {
			err = f()
		}
		result <- err
	}()
	return <-result
}

// become changes the credentials of this thread alone: not through package syscall, which would
// change those of all threads.
func become(u passwd.User, groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	for _, call := range [][4]uintptr{
		{unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first)},
		{unix.SYS_SETRESGID, uintptr(u.GID), uintptr(u.GID), uintptr(u.GID)},
		{unix.SYS_SETRESUID, uintptr(u.UID), uintptr(u.UID), uintptr(u.UID)},
	} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return fmt.Errorf("become user %q: %w", u.Name, errno)
		}
	}
	return nil
}

// splicePackets is splice for packets. An error of the socket, such as that nobody listens
// there, ends it.
func splicePackets(ch ssh.Channel, requests <-chan *ssh.Request, conn net.Conn) {
	var tasks sync.WaitGroup
	tasks.Go(func() {
		p := make([]byte, wire.MaxPacket)
		for {
			n, err := conn.Read(p)
			if err == nil {
				err = wire.WritePacket(ch, p[:n])
			} else if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				_ = wire.WriteFailure(ch, err)
			}
			if err != nil {
				break
			}
		}
		_ = ch.Close()
	})
	tasks.Go(func() {
		r, p := bufio.NewReader(ch), make([]byte, wire.MaxPacket)
		for {
			n, err := wire.ReadPacket(r, p)
			if err != nil {
				break
			}
			// A packet that is lost is an error of a later read, or none.
			if _, err := conn.Write(p[:n]); errors.Is(err, syscall.EMSGSIZE) {
				_ = wire.WriteFailure(ch, err)
				break
			}
		}
		conn.Close()
	})
	for req := range requests {
		_ = req.Reply(false, nil)
	}
	conn.Close()
	tasks.Wait()
}
