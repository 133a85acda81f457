package systemd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"

	godbus "github.com/godbus/dbus/v5"
)

// fakeConn is a connection to a fakeSystemd.
type fakeConn struct {
	stream net.Conn
	mu     sync.Mutex // of writes
}

func (f *fakeSystemd) dial(context.Context) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dialed++
	if f.refusing != nil {
		return nil, f.refusing
	}
	ours, theirs := net.Pipe()
	c := &fakeConn{stream: theirs}
	f.conns = append(f.conns, c)
	go f.serve(c)
	return ours, nil
}

func (f *fakeSystemd) serve(c *fakeConn) {
	defer c.stream.Close()
	in := bufio.NewReader(c.stream)
	for { // the handshake of the D-Bus specification
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		reply := ""
		switch line = strings.TrimLeft(strings.TrimSpace(line), "\x00"); {
		case line == "AUTH":
			reply = "REJECTED EXTERNAL\r\n"
		case strings.HasPrefix(line, "AUTH EXTERNAL"):
			reply = "OK 1234deadbeef\r\n"
		}
		if _, err := c.stream.Write([]byte(reply)); err != nil {
			return
		}
		if line == "BEGIN" {
			break
		}
	}
	for {
		m, err := godbus.DecodeMessage(in)
		if err != nil {
			return
		}
		f.answer(c, m)
	}
}

func (f *fakeSystemd) answer(c *fakeConn, m *godbus.Message) {
	member, _ := m.Headers[godbus.FieldMember].Value().(string)
	path, _ := m.Headers[godbus.FieldPath].Value().(godbus.ObjectPath)
	f.mu.Lock()
	f.calls[member]++
	on := f.on[member]
	f.mu.Unlock()
	if m.Flags&godbus.FlagNoReplyExpected != 0 {
		return
	}
	var body []any
	var err error
	after := func() {}
	if on != nil {
		body, err = on(m.Body)
	} else {
		body, after, err = f.method(path, member, m.Body)
	}
	reply := &godbus.Message{Type: godbus.TypeMethodReply, Headers: map[godbus.HeaderField]godbus.Variant{
		godbus.FieldReplySerial: godbus.MakeVariant(m.Serial()),
	}}
	if e, ok := errors.AsType[godbus.Error](err); ok {
		reply.Type = godbus.TypeError
		reply.Headers[godbus.FieldErrorName] = godbus.MakeVariant(e.Name)
		body = e.Body
	}
	c.send(reply, body)
	after()
}

func (f *fakeSystemd) emit(path godbus.ObjectPath, iface, member string, args ...any) {
	f.mu.Lock()
	conns := slices.Clone(f.conns)
	f.mu.Unlock()
	for _, c := range conns {
		c.send(&godbus.Message{Type: godbus.TypeSignal, Headers: map[godbus.HeaderField]godbus.Variant{
			godbus.FieldPath:      godbus.MakeVariant(path),
			godbus.FieldInterface: godbus.MakeVariant(iface),
			godbus.FieldMember:    godbus.MakeVariant(member),
		}}, args)
	}
}

func (c *fakeConn) send(m *godbus.Message, body []any) {
	m.Body = body
	if len(body) > 0 {
		m.Headers[godbus.FieldSignature] = godbus.MakeVariant(godbus.SignatureOf(body...))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = m.EncodeTo(c.stream, binary.LittleEndian) // the client may have gone
}
