package guest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// SystemdPortName is the name of the virtio-serial port that carries a fork's connection to
// PID 1.
const SystemdPortName = "org.systemd-vmtest.systemd"

// SystemdRequest is the name of the control request that makes the agent connect its port
// of SystemdPortName to PID 1. Once it is answered, the agent is connected and authenticated,
// and waits for a WakeFrame on the port. It applies that, writes a reply, which ReadWoken
// reads, and from then on copies between the port and PID 1. When one of them ends, it closes
// both. It sends nothing before the frame comes.
//
// A snapshot of a machine that waits has the connection, and so has each fork of it. The frame
// and the calls of a fork then run little code in the guest: neither the SSH protocol, nor a
// connect, nor an authentication.
const SystemdRequest = "systemd"

// privateSocket is where PID 1 answers D-Bus itself.
const privateSocket = "/run/systemd/private"

// SeedSize is the size of Wake.Seed in a WakeFrame, in bytes.
const SeedSize = 64

const (
	maxHostname  = 64                                 // HOST_NAME_MAX, limits.h(0p)
	wakeSize     = 8 + SeedSize + 1 + maxHostname + 2 // before the network
	maxWokenText = 1 << 10
)

// WakeFrame returns w, whose UnixNano is 0, as the agent reads it from the port. The seed has
// 64 bytes. The ssh package, which would marshal it too, runs much more code.
func WakeFrame(w Wake) ([]byte, error) {
	if len(w.Seed) != SeedSize || len(w.Hostname) > maxHostname || w.UnixNano != 0 {
		return nil, fmt.Errorf("wake guest: a seed of %d bytes, a host name of %d, a time of %d", len(w.Seed), len(w.Hostname), w.UnixNano)
	}
	frame := binary.LittleEndian.AppendUint64(make([]byte, 0, wakeSize), w.Asleep)
	frame = append(frame, w.Seed...)
	frame = append(frame, byte(len(w.Hostname)))
	frame = append(frame, w.Hostname...)[:wakeSize]
	if len(w.Network) > maxNetwork {
		return nil, fmt.Errorf("wake guest: a network of %d bytes", len(w.Network))
	}
	binary.LittleEndian.PutUint16(frame[wakeSize-2:], uint16(len(w.Network)))
	return append(frame, w.Network...), nil
}

// readWake reads a frame.
func readWake(r io.Reader) (Wake, error) {
	frame := make([]byte, wakeSize)
	if _, err := io.ReadFull(r, frame); err != nil {
		return Wake{}, err
	}
	network := make([]byte, binary.LittleEndian.Uint16(frame[wakeSize-2:]))
	if _, err := io.ReadFull(r, network); err != nil {
		return Wake{}, err
	}
	name := frame[8+SeedSize : wakeSize-2]
	return Wake{
		Network:  string(network),
		Asleep:   binary.LittleEndian.Uint64(frame),
		Seed:     string(frame[8 : 8+SeedSize]),
		Hostname: string(name[1 : 1+min(int(name[0]), maxHostname)]),
	}, nil
}

// wokenReply is the agent's reply to a frame: 0, or the length of a text and the text.
func wokenReply(err error) []byte {
	if err == nil {
		return []byte{0, 0}
	}
	text := err.Error()
	text = text[:min(len(text), maxWokenText)]
	return append(binary.LittleEndian.AppendUint16(nil, uint16(len(text))), text...)
}

// ReadWoken reads the agent's reply to a WakeFrame. It returns the agent's error.
func ReadWoken(r io.Reader) error {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	text := make([]byte, min(binary.LittleEndian.Uint16(size[:]), maxWokenText))
	if len(text) == 0 {
		return nil
	}
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return errors.New(string(text))
}

// startSystemd answers a SystemdRequest.
func startSystemd() error {
	dev, err := waitPort(context.Background(), SystemdPortName)
	if err != nil {
		return err
	}
	pool, err := openPool()
	if err != nil {
		return err
	}
	bus, err := dialPrivate(privateSocket)
	if err != nil {
		unix.Close(pool)
		return err
	}
	port, err := openPort(context.Background(), dev)
	if err != nil {
		unix.Close(pool)
		bus.Close()
		return err
	}
	ready := prepareNetwork()
	go func() {
		defer unix.Close(pool)
		defer ready.close()
		relay(port, bus, func(w Wake) error {
			defer ready.awake()
			return w.applyWith(pool, ready)
		})
	}()
	return nil
}

// dialPrivate connects to a D-Bus server and authenticates as root. It is not a net.Conn, so
// that the code is that of the port.
func dialPrivate(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	bus := os.NewFile(uintptr(fd), path)
	if err := authenticate(bus); err != nil {
		bus.Close()
		return nil, fmt.Errorf("authenticate to %s: %w", path, err)
	}
	return bus, nil
}

// authenticate does a client's part of the authentication protocol of the D-Bus
// specification, all at once as sd-bus does.
func authenticate(bus io.ReadWriter) error {
	if _, err := io.WriteString(bus, "\x00AUTH EXTERNAL 30\r\nBEGIN\r\n"); err != nil {
		return err
	}
	// The server sends nothing after this line before it is called, but for signals.
	var line []byte
	for one := make([]byte, 1); !bytes.HasSuffix(line, []byte("\r\n")) && len(line) < 256; line = append(line, one...) {
		if _, err := io.ReadFull(bus, one); err != nil {
			return err
		}
	}
	if !bytes.HasPrefix(line, []byte("OK ")) {
		return fmt.Errorf("it answered %q", line)
	}
	return nil
}

// relay waits for a WakeFrame on the port, and then copies between port and bus until one of
// them ends. It closes both.
func relay(port, bus io.ReadWriteCloser, wake func(Wake) error) {
	defer port.Close()
	defer bus.Close()
	// Allocated before the snapshot, so that a fork does not run the allocator.
	there, back := make([]byte, 32<<10), make([]byte, 32<<10)
	w, err := readWake(port)
	if err != nil {
		return
	}
	if _, err := port.Write(wokenReply(wake(w))); err != nil {
		return
	}
	go func() {
		defer port.Close()
		defer bus.Close()
		pump(port, bus, back)
	}()
	pump(bus, port, there)
}

// pump copies by buf until from ends or to fails. io.Copy would look for better ways, which is
// code.
func pump(to io.Writer, from io.Reader, buf []byte) {
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
