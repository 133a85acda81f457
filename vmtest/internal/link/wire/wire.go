// Package wire holds the names and payloads that both ends of the guest link
// share and that the SSH standards do not define. The rest of the link is RFC
// 4253, 4254 and OpenSSH's PROTOCOL file.
package wire

import (
	"encoding/binary"
	"errors"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// Domain ends every name of our own (RFC 4250, section 4.6.1).
const Domain = "@systemd-vmtest"

const (
	// ArgvRequest is a request on a "session" channel that starts a command
	// without a shell; its payload is an Argv. No reply is needed: a start that
	// fails is told by StartErrorRequest.
	ArgvRequest = "argv" + Domain

	// ElapsedRequest comes from the agent ahead of a command's exit; its payload is
	// an Elapsed.
	ElapsedRequest = "elapsed" + Domain

	// Keepalive is OpenSSH's global request that asks nothing but an answer.
	Keepalive = "keepalive@openssh.com"

	// StartErrorRequest comes from the agent in place of exit-status when the
	// command never ran; its payload is a StartError as JSON.
	StartErrorRequest = "start-error" + Domain
)

// MaxPayload bounds a request's payload in bytes. Packets above 256 KiB make
// the peer drop the whole connection (golang.org/x/crypto/ssh, maxPacket).
const MaxPayload = 240 << 10

// Argv is the payload of ArgvRequest.
type Argv struct {
	Args, Env, Dir string // the first two as by Pack

	// The streams that the client wants; the others are /dev/null.
	Stdin, Stdout, Stderr bool

	// Merge sends standard error down the pipe of standard output, so that
	// the order of the two is kept.
	Merge bool
}

// Pack makes one string of many. Under emulation it costs less to take apart than
// JSON, and it keeps bytes that are not UTF-8.
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
	Errno   int    `json:"errno,omitempty"` // 0 when no system call failed
	Message string `json:"message"`
}

// privateReason begins the reason codes that RFC 4254, section 5.1, leaves to
// private use.
const privateReason = 0xFE000000

// RejectionReason is the reason code for a connect that failed with errno.
func RejectionReason(errno syscall.Errno) ssh.RejectionReason {
	if errno == 0 {
		return ssh.ConnectionFailed
	}
	return ssh.RejectionReason(privateReason | uint32(errno))
}

// Errno is the inverse of RejectionReason, 0 when the code carries none.
func Errno(reason ssh.RejectionReason) syscall.Errno {
	if uint32(reason)&privateReason != privateReason {
		return 0
	}
	return syscall.Errno(uint32(reason) &^ privateReason)
}

// standardSignals are the names that RFC 4254, section 6.10, defines.
const standardSignals = " ABRT ALRM FPE HUP ILL INT KILL PIPE QUIT SEGV TERM USR1 USR2 "

// SignalName makes the wire name of a signal: bare when the RFC lists it, with
// our domain otherwise, as the RFC asks.
func SignalName(name string) string {
	if strings.Contains(standardSignals, " "+name+" ") {
		return name
	}
	return name + Domain
}

// BareSignal takes the domain off a signal's wire name.
func BareSignal(name string) string {
	name, _, _ = strings.Cut(name, "@")
	return name
}

// Elapsed is how long a command ran, from before its start to its end.
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

// Algorithms are the ones both ends agree on: X25519 and ChaCha20-Poly1305 cost
// least where a guest's processor is emulated and has no AES instructions.
func Algorithms() ssh.Config {
	return ssh.Config{
		KeyExchanges: []string{ssh.KeyExchangeCurve25519},
		Ciphers:      []string{ssh.CipherChaCha20Poly1305},
		// The stream never leaves the host, so nothing is gained by new keys
		// in the middle of a copy; a kibi of gibibytes is never reached.
		RekeyThreshold: 1 << 40,
	}
}
