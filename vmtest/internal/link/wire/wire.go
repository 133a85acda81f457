// Package wire defines the names and payloads that both ends of the guest link use.
// Those of our own are here, and those of RFC 4254 and of OpenSSH's PROTOCOL file
// that the ssh package does not export.
package wire

import (
	"encoding/binary"
	"errors"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// Domain ends each name of our own (RFC 4250, section 4.6.1).
const Domain = "@systemd-vmtest"

const (
	// ArgvRequest on a "session" channel starts a command without a shell. Its
	// payload is an Argv. It needs no reply: if the start fails, the agent sends a
	// StartErrorRequest.
	ArgvRequest = "argv" + Domain

	// ConnectionChannel is the type of a channel that carries another SSH connection to
	// the agent, with a handshake of its own. It has no extra data.
	ConnectionChannel = "connection" + Domain

	// ElapsedRequest comes from the agent before a command's exit. Its payload is
	// an Elapsed.
	ElapsedRequest = "elapsed" + Domain

	// Keepalive is OpenSSH's global request that does nothing and is answered.
	Keepalive = "keepalive@openssh.com"

	// StartErrorRequest comes from the agent in place of exit-status if the command
	// did not start. Its payload is a StartError as JSON.
	StartErrorRequest = "start-error" + Domain
)

// Version is the identification string (RFC 4253, section 4.2) of both ends. Its number
// changes with the payloads and with what a request means, because the program that starts
// a machine and the agent in it may be built from two versions of this module.
const Version = "SSH-2.0-systemd_vmtest_4"

// MaxPayload bounds a request's payload in bytes. A packet of more than 256 KiB makes
// the peer end the connection (golang.org/x/crypto/ssh, maxPacket).
const MaxPayload = 240 << 10

// MaxData is the size in bytes of the largest data packet of a channel
// (golang.org/x/crypto/ssh, channelMaxPacket).
const MaxData = 32 << 10

// MaxFileData bounds the data of an SFTP packet, in bytes. Not every server takes more than
// 32 KiB, but package agent does, and an emulated processor then handles fewer packets.
const MaxFileData = 128 << 10

// Argv is the payload of ArgvRequest.
type Argv struct {
	Args, Env, Dir string // Args and Env are made by Pack

	User string // name or UID; "" is the agent's own

	// Stdin, Stdout and Stderr select the streams that the channel carries. The
	// others are /dev/null.
	Stdin, Stdout, Stderr bool

	// Merge sends standard error through the pipe of standard output, so that the
	// order of the two is kept.
	Merge bool
}

// Pack returns the strings of a list as one string. Under emulation Unpack costs less
// than JSON, and it keeps bytes that are not UTF-8.
func Pack(list []string) string {
	var packed []byte
	for _, s := range list {
		packed = binary.BigEndian.AppendUint32(packed, uint32(len(s)))
		packed = append(packed, s...)
	}
	return string(packed)
}

// Unpack is the inverse of Pack.
func Unpack(packed string) ([]string, error) {
	var list []string
	for len(packed) > 0 {
		if len(packed) < 4 {
			return nil, errors.New("a length is cut off")
		}
		size := binary.BigEndian.Uint32([]byte(packed[:4]))
		packed = packed[4:]
		if uint64(size) > uint64(len(packed)) {
			return nil, errors.New("a string is cut off")
		}
		list = append(list, packed[:size])
		packed = packed[size:]
	}
	return list, nil
}

// StartError is the payload of StartErrorRequest.
type StartError struct {
	Errno   int    `json:"errno,omitempty"` // 0 if no system call failed
	Message string `json:"message"`
}

// privateReason begins the reason codes for private use (RFC 4254, section 5.1).
const privateReason = 0xFE000000

// RejectionReason returns the reason code of a connect that failed with errno.
func RejectionReason(errno syscall.Errno) ssh.RejectionReason {
	if errno == 0 {
		return ssh.ConnectionFailed
	}
	return ssh.RejectionReason(privateReason | uint32(errno))
}

// Errno is the inverse of RejectionReason. It returns 0 if the code has no errno.
func Errno(reason ssh.RejectionReason) syscall.Errno {
	if uint32(reason)&privateReason != privateReason {
		return 0
	}
	return syscall.Errno(uint32(reason) &^ privateReason)
}

// standardSignals are the names that RFC 4254, section 6.10, defines.
const standardSignals = " ABRT ALRM FPE HUP ILL INT KILL PIPE QUIT SEGV TERM USR1 USR2 "

// SignalName returns the wire name of a signal. A name that the RFC does not list gets
// our domain.
func SignalName(name string) string {
	if strings.Contains(standardSignals, " "+name+" ") {
		return name
	}
	return name + Domain
}

// BareSignal returns a signal's wire name without its domain.
func BareSignal(name string) string {
	name, _, _ = strings.Cut(name, "@")
	return name
}

// Elapsed is the payload of ElapsedRequest: how long a command ran, from before its
// start to its end.
type Elapsed struct{ Nanoseconds uint64 }

// ExitStatus is the payload of exit-status (RFC 4254, section 6.10).
type ExitStatus struct {
	Status uint32
}

// ExitSignal is the payload of exit-signal (RFC 4254, section 6.10).
type ExitSignal struct {
	Signal     string
	CoreDumped bool
	Message    string
	Language   string
}

// PTY is the payload of pty-req (RFC 4254, section 6.2).
type PTY struct {
	Term                         string // the terminal's type
	Columns, Rows, Width, Height uint32 // as in WindowSize
	Modes                        string
}

// WindowSize is the payload of window-change (RFC 4254, section 6.7). Width and Height are
// in pixels, and may be 0.
type WindowSize struct {
	Columns, Rows, Width, Height uint32
}

// Signal is the payload of signal (RFC 4254, section 6.9).
type Signal struct {
	Name string
}

// Subsystem is the payload of subsystem (RFC 4254, section 6.5).
type Subsystem struct {
	Name string
}

// DirectTCPIP is the payload of a direct-tcpip channel (RFC 4254, section 7.2).
type DirectTCPIP struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// DirectStreamlocal is the payload of a direct-streamlocal@openssh.com channel
// (OpenSSH's PROTOCOL, section 2.4).
type DirectStreamlocal struct {
	Path      string
	Reserved0 string
	Reserved1 uint32
}

// Algorithms returns the algorithms of both ends. X25519 and ChaCha20-Poly1305 cost
// least on an emulated processor, which has no AES instructions.
func Algorithms() ssh.Config {
	return ssh.Config{
		KeyExchanges: []string{ssh.KeyExchangeCurve25519},
		Ciphers:      []string{ssh.CipherChaCha20Poly1305},
		// The stream never leaves the host, so new keys in the middle of a copy
		// gain nothing. No session gets to 1 TiB.
		RekeyThreshold: 1 << 40,
	}
}
