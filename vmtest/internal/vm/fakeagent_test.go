package vm

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"sync"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// fakeAgent plays the guest's agent and the PID 1 behind it. It runs nothing.
type fakeAgent struct {
	machine *fakeMachine

	mu      sync.Mutex
	conn    net.Conn // of the session in progress
	gone    bool     // conn was closed by die
	session fakeSession
}

// fakeSession records a session with a host, so that the agent of a fork can continue it.
type fakeSession struct {
	seed [32]byte // of the agent's random numbers
	data []byte   // received
	sent int      // bytes
}

// agentKey is the host key of all fake agents.
var agentKey = sync.OnceValues(func() (ssh.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromSigner(key)
})

// sessionConn is the stream of a session. It plays back what has passed over it before.
type sessionConn struct {
	net.Conn
	agent *fakeAgent
	read  []byte // to be played back
	drop  int    // number of bytes that the host has already
}

func (c *sessionConn) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.agent.mu.Lock()
	defer c.agent.mu.Unlock()
	c.agent.session.data = append(c.agent.session.data, p[:n]...)
	return n, err
}

func (c *sessionConn) Write(p []byte) (int, error) {
	c.agent.mu.Lock()
	c.agent.session.sent += len(p)
	c.agent.mu.Unlock()
	dropped := min(c.drop, len(p))
	c.drop -= dropped
	if dropped == len(p) {
		return len(p), nil
	}
	n, err := c.Conn.Write(p[dropped:])
	return dropped + n, err
}

// connect makes conn the stream behind the agent's port.
func (a *fakeAgent) connect(conn net.Conn) {
	var fresh fakeSession
	rand.Read(fresh.seed[:])
	a.resume(conn, fresh)
}

// resume continues a session over conn.
func (a *fakeAgent) resume(conn net.Conn, s fakeSession) {
	c := &sessionConn{Conn: conn, agent: a, read: bytes.Clone(s.data), drop: s.sent}
	a.mu.Lock()
	a.conn, a.gone, a.session = conn, false, fakeSession{seed: s.seed, data: bytes.Clone(s.data)}
	a.mu.Unlock()
	go a.serve(c, s.seed)
}

// saved returns the session in progress.
func (a *fakeAgent) saved() fakeSession {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.session
	s.data = bytes.Clone(s.data)
	return s
}

// die ends the agent without a word.
func (a *fakeAgent) die() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = true
	if a.conn != nil {
		a.conn.Close()
	}
}

func (a *fakeAgent) serve(conn *sessionConn, seed [32]byte) {
	a.talk(conn, seed)
	a.mu.Lock()
	gone := a.gone || a.conn != conn.Conn
	a.mu.Unlock()
	a.machine.port(false)
	if !gone { // it waits for the next host
		a.machine.port(true)
	}
}

func (a *fakeAgent) talk(conn net.Conn, seed [32]byte) {
	defer conn.Close()
	key, err := agentKey()
	assert.NoError(a.machine.t, err)
	config := &ssh.ServerConfig{Config: wire.Algorithms(), NoClientAuth: true}
	config.Rand = mathrand.NewChaCha8(seed)
	config.AddHostKey(key)
	sshConn, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go func() {
		for req := range requests {
			ok, payload := a.control(req)
			req.Reply(ok, payload)
		}
	}()
	for channel := range channels {
		go a.channel(channel)
	}
	sshConn.Wait()
}

// control answers as the agent does.
func (a *fakeAgent) control(req *ssh.Request) (bool, []byte) {
	switch req.Type {
	case wire.Keepalive:
		return true, nil
	case guest.WakeRequest + wire.Domain:
		if a.machine.refusesWake {
			return false, []byte("not now")
		}
		return true, nil
	case guest.KernelLogRequest + wire.Domain:
		return true, a.kernelLog()
	}
	return false, []byte("no such request")
}

// kernelLog is a reply to a guest.KernelLogRequest: one record a second until now.
func (a *fakeAgent) kernelLog() []byte {
	a.machine.mu.Lock()
	defer a.machine.mu.Unlock()
	var records []string
	for i, text := range a.machine.kernelLog {
		records = append(records, string(ssh.Marshal(struct {
			Seq, Micros uint64
			Level       uint32
			Text        string
		}{uint64(i), uint64(i) * 1e6, 3, text})))
	}
	now := uint64(len(records)) * 1e6
	return ssh.Marshal(struct {
		Oldest, Next, Micros uint64
		More                 bool
		Records              string
	}{0, uint64(len(records)), now, false, wire.Pack(records)})
}

func (a *fakeAgent) channel(channel ssh.NewChannel) {
	ch, requests, err := channel.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	if channel.ChannelType() == "direct-streamlocal@openssh.com" {
		go ssh.DiscardRequests(requests)
		a.playPID1(ch)
		return
	}
	for req := range requests {
		if req.Type != wire.ArgvRequest {
			continue
		}
		var argv wire.Argv
		assert.NoError(a.machine.t, ssh.Unmarshal(req.Payload, &argv))
		args, err := wire.Unpack(argv.Args)
		assert.NoError(a.machine.t, err)
		a.machine.mu.Lock()
		command, stderr := a.machine.command, a.machine.stderr
		a.machine.mu.Unlock()
		status := command(args)
		if status != 0 {
			io.WriteString(ch.Stderr(), stderr)
		}
		ch.SendRequest("exit-status", false, ssh.Marshal(wire.ExitStatus{Status: uint32(status)}))
		return
	}
}

// playPID1 answers D-Bus calls as systemd does at its private socket.
func (a *fakeAgent) playPID1(ch io.ReadWriter) {
	r := bufio.NewReader(ch)
	for {
		line, err := r.ReadString('\n')
		line = strings.TrimLeft(line, "\x00")
		switch {
		case err != nil:
			return
		case strings.Contains(line, "AUTH EXTERNAL"):
			fmt.Fprint(ch, "OK 0123456789abcdef0123456789abcdef\r\n")
			continue
		case strings.HasPrefix(line, "NEGOTIATE_UNIX_FD"):
			fmt.Fprint(ch, "ERROR\r\n")
			continue
		case strings.HasPrefix(line, "AUTH"):
			fmt.Fprint(ch, "REJECTED EXTERNAL\r\n")
			continue
		}
		if strings.HasPrefix(line, "BEGIN") {
			break
		}
	}
	for {
		call, err := godbus.DecodeMessage(r)
		if err != nil {
			return
		}
		a.machine.mu.Lock()
		pid1 := a.machine.pid1
		a.machine.mu.Unlock()
		state := pid1()
		reply := &godbus.Message{
			Type: godbus.TypeMethodReply,
			Headers: map[godbus.HeaderField]godbus.Variant{
				godbus.FieldReplySerial: godbus.MakeVariant(call.Serial()),
			},
		}
		if member, _ := call.Headers[godbus.FieldMember].Value().(string); member == "Get" {
			reply.Headers[godbus.FieldSignature] = godbus.MakeVariant(godbus.SignatureOf(godbus.MakeVariant("")))
			reply.Body = []any{godbus.MakeVariant(state)}
		}
		var out bytes.Buffer
		if err := reply.EncodeTo(&out, binary.LittleEndian); !assert.NoError(a.machine.t, err) {
			return
		}
		if _, err := ch.Write(out.Bytes()); err != nil {
			return
		}
	}
}
