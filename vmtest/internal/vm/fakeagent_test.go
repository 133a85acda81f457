package vm

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// fakeAgent plays the guest's agent and the PID 1 behind it. It runs nothing.
type fakeAgent struct {
	machine *fakeMachine

	mu      sync.Mutex
	conn    net.Conn      // of the session in progress
	served  chan struct{} // closed once the session has ended, and the host has the events
	gone    bool          // die was called
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
	// dropped is closed once they were written. What the host sends in a fork comes after
	// that.
	dropped chan struct{}
}

func (c *sessionConn) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	<-c.dropped
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
	if c.drop -= dropped; c.drop == 0 && dropped > 0 {
		close(c.dropped)
	}
	if dropped == len(p) {
		return len(p), nil
	}
	n, err := c.Conn.Write(p[dropped:])
	return dropped + n, err
}

// Close closes the stream, unless the agent has died. QEMU keeps it open then.
func (c *sessionConn) Close() error {
	c.agent.mu.Lock()
	defer c.agent.mu.Unlock()
	if c.agent.gone {
		return nil
	}
	return c.Conn.Close()
}

// connect makes conn the stream behind the agent's port.
func (a *fakeAgent) connect(conn net.Conn) {
	var fresh fakeSession
	rand.Read(fresh.seed[:])
	a.resume(conn, fresh)
}

// resume continues a session over conn.
func (a *fakeAgent) resume(conn net.Conn, s fakeSession) {
	c := &sessionConn{Conn: conn, agent: a, read: bytes.Clone(s.data), drop: s.sent, dropped: make(chan struct{})}
	if c.drop == 0 {
		close(c.dropped)
	}
	a.mu.Lock()
	served := make(chan struct{})
	if a.gone { // QEMU has a new stream for the next agent
		a.conn.Close()
	}
	a.conn, a.served, a.gone, a.session = conn, served, false, fakeSession{seed: s.seed, data: bytes.Clone(s.data)}
	a.mu.Unlock()
	go func() {
		defer close(served)
		a.serve(c, s.seed)
	}()
}

// saved returns the session in progress.
func (a *fakeAgent) saved() fakeSession {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.session
	s.data = bytes.Clone(s.data)
	return s
}

// die ends the agent without notice. QEMU keeps its stream open.
func (a *fakeAgent) die() {
	a.mu.Lock()
	a.gone = true
	served := a.served
	if a.conn != nil {
		a.conn.SetDeadline(time.Unix(1, 0))
	}
	a.mu.Unlock()
	if served != nil {
		<-served
	}
}

// unplug closes QEMU's end of the stream.
func (a *fakeAgent) unplug() {
	a.mu.Lock()
	defer a.mu.Unlock()
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
	config := &ssh.ServerConfig{Config: wire.Algorithms(), NoClientAuth: true, ServerVersion: wire.Version}
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
		return true, nil
	case guest.SystemdRequest + wire.Domain:
		return true, nil
	case guest.JournalRequest + wire.Domain:
		ok, reply := a.machine.journal.start(req.Payload)
		if a.machine.journal.fails() {
			a.machine.killJournal()
		}
		return ok, reply
	case guest.JournalEndRequest + wire.Domain:
		return true, ssh.Marshal(a.machine.endJournal())
	case guest.JournalTailsRequest + wire.Domain:
		return true, a.machine.journal.tails()
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
	if bytes.Contains(channel.ExtraData(), []byte(silentSocket)) {
		a.machine.hang("dial")
		return
	}
	if bytes.Contains(channel.ExtraData(), []byte(systemd.JournaldSocket)) && a.machine.journal.absent() {
		channel.Reject(wire.RejectionReason(unix.ECONNREFUSED), "connection refused")
		return
	}
	ch, requests, err := channel.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	if bytes.Contains(channel.ExtraData(), []byte(systemd.JournaldSocket)) {
		go ssh.DiscardRequests(requests)
		a.machine.journal.synchronize(ch)
		return
	}
	if channel.ChannelType() == "direct-streamlocal@openssh.com" {
		go ssh.DiscardRequests(requests)
		a.playPID1(ch)
		return
	}
	for req := range requests {
		if req.Type != wire.ArgvRequest {
			a.machine.hang(req.Type)
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
		if args[0] == "journalctl" {
			io.WriteString(ch, strings.Join(a.machine.journal.logged(), ""))
		}
		if status != 0 {
			io.WriteString(ch.Stderr(), stderr)
		}
		ch.SendRequest("exit-status", false, ssh.Marshal(wire.ExitStatus{Status: uint32(status)}))
		return
	}
}
