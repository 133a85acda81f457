package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/scenarios/conformance/internal/probe"
)

// describeAll describes this process. It is called before anything is served, because
// package net changes options of the sockets that it serves.
func describeAll() probe.Report {
	r := probe.Report{PID: os.Getpid(), UID: os.Getuid(), Env: map[string]string{}}
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		r.Env[name] = value
	}
	r.FDs = append(r.FDs, describe(0, ""))
	for n, name := range strings.Split(r.Env["LISTEN_FDNAMES"], ":") {
		if r.Env["LISTEN_FDNAMES"] != "" {
			r.FDs = append(r.FDs, describe(firstFD+n, name))
		}
	}
	return r
}

// withPeer adds the peer of a connection to a report.
func withPeer(r probe.Report, c net.Conn) probe.Report {
	if raw, ok := c.(syscall.Conn); ok {
		withFD(raw, func(fd int) {
			if cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && cred.Pid > 0 {
				r.Cred = fmt.Sprint(cred.Uid, " ", cred.Pid)
			}
		})
	}
	return r
}

// optionNumbers are the socket options that hold a number, by the name of their constant.
var optionNumbers = map[string][2]int{
	"SO_KEEPALIVE":     {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
	"SO_REUSEPORT":     {unix.SOL_SOCKET, unix.SO_REUSEPORT},
	"SO_PRIORITY":      {unix.SOL_SOCKET, unix.SO_PRIORITY},
	"SO_RCVBUF":        {unix.SOL_SOCKET, unix.SO_RCVBUF},
	"SO_SNDBUF":        {unix.SOL_SOCKET, unix.SO_SNDBUF},
	"SO_MARK":          {unix.SOL_SOCKET, unix.SO_MARK},
	"SO_BROADCAST":     {unix.SOL_SOCKET, unix.SO_BROADCAST},
	"SO_PASSCRED":      {unix.SOL_SOCKET, unix.SO_PASSCRED},
	"SO_PASSPIDFD":     {unix.SOL_SOCKET, 76},
	"SO_PASSRIGHTS":    {unix.SOL_SOCKET, 83},
	"SO_TIMESTAMPNS":   {unix.SOL_SOCKET, unix.SO_TIMESTAMPNS},
	"SO_PROTOCOL":      {unix.SOL_SOCKET, unix.SO_PROTOCOL},
	"TCP_NODELAY":      {unix.IPPROTO_TCP, unix.TCP_NODELAY},
	"TCP_KEEPIDLE":     {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
	"TCP_KEEPINTVL":    {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
	"TCP_KEEPCNT":      {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
	"TCP_DEFER_ACCEPT": {unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT},
	"IP_FREEBIND":      {unix.IPPROTO_IP, unix.IP_FREEBIND},
	"IP_TRANSPARENT":   {unix.IPPROTO_IP, unix.IP_TRANSPARENT},
	"IP_TOS":           {unix.IPPROTO_IP, unix.IP_TOS},
	"IP_TTL":           {unix.IPPROTO_IP, unix.IP_TTL},
	"IP_PKTINFO":       {unix.IPPROTO_IP, unix.IP_PKTINFO},
	"IPV6_V6ONLY":      {unix.IPPROTO_IPV6, unix.IPV6_V6ONLY},
}

func describe(fd int, name string) probe.FD {
	d := probe.FD{FD: fd, Name: name, Kind: kind(fd), Listens: isListening(fd), Options: map[string]int{}, Text: map[string]string{}}
	if d.Kind == "fifo" {
		if size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err == nil {
			d.Options["F_GETPIPE_SZ"] = size
		}
		return d
	}
	if d.Kind == "other" {
		d.Text["path"], _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		return d
	}
	if sa, err := unix.Getsockname(fd); err == nil {
		d.Local = address(sa)
	}
	for name, o := range optionNumbers {
		if v, err := unix.GetsockoptInt(fd, o[0], o[1]); err == nil {
			d.Options[name] = v
		}
	}
	if v, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); err == nil {
		d.Text["TCP_CONGESTION"] = v
	}
	if v, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE); err == nil {
		d.Text["SO_COOKIE"] = fmt.Sprint(v)
	}
	buf := make([]byte, 4096)
	if n, err := unix.Flistxattr(fd, buf); err == nil {
		for _, attr := range strings.Split(string(buf[:n]), "\x00") {
			value := make([]byte, 256)
			if n, err := unix.Fgetxattr(fd, attr, value); err == nil && strings.HasPrefix(attr, "user.") {
				d.Text[attr] = string(value[:n])
			}
		}
	}
	return d
}

func address(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return net.JoinHostPort(net.IP(a.Addr[:]).String(), fmt.Sprint(a.Port))
	case *unix.SockaddrInet6:
		return fmt.Sprintf("[%s]:%d", net.IP(a.Addr[:]), a.Port)
	case *unix.SockaddrUnix:
		return a.Name
	}
	return fmt.Sprintf("%T", sa)
}

// kind returns the kind of a descriptor.
func kind(fd int) string {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return "other"
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFIFO {
		return "fifo"
	}
	t, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return "other"
	}
	return map[int]string{unix.SOCK_STREAM: "stream", unix.SOCK_DGRAM: "datagram", unix.SOCK_SEQPACKET: "seqpacket"}[t]
}

func kindOf(c net.Conn) (k string) {
	if raw, ok := c.(syscall.Conn); ok {
		withFD(raw, func(fd int) { k = kind(fd) })
	}
	return k
}

func isListening(fd int) bool {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && v == 1
}

// sameSocket reports whether two descriptors are of the same socket.
func sameSocket(a, b int) bool {
	var x, y unix.Stat_t
	return a != b && unix.Fstat(a, &x) == nil && unix.Fstat(b, &y) == nil && x.Ino == y.Ino && x.Dev == y.Dev
}

func withFD(c syscall.Conn, f func(fd int)) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}
