package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// connectTimeout bounds a connect inside the guest.
const connectTimeout = 10 * time.Second

// lingerTimeout bounds the delivery of data that the client sent before it closed the
// connection. Tests change it.
var lingerTimeout = 5 * time.Second

func (c *connection) forwardTCP(channel ssh.NewChannel) {
	var target wire.DirectTCPIP
	if err := ssh.Unmarshal(channel.ExtraData(), &target); err != nil {
		_ = channel.Reject(ssh.ConnectionFailed, "read address: "+err.Error())
		return
	}
	port := strconv.FormatUint(uint64(target.Port), 10)
	c.forward(channel, wire.Dial{Network: "tcp", Address: net.JoinHostPort(target.Host, port)})
}

func (c *connection) forwardUnix(channel ssh.NewChannel) {
	var target wire.DirectStreamlocal
	if err := ssh.Unmarshal(channel.ExtraData(), &target); err != nil {
		_ = channel.Reject(ssh.ConnectionFailed, "read path: "+err.Error())
		return
	}
	c.forward(channel, wire.Dial{Network: "unix", Address: target.Path})
}

// forward connects a channel to a socket inside the guest.
func (c *connection) forward(channel ssh.NewChannel, target wire.Dial) {
	conn, err := c.dialFrom(target)
	if err != nil {
		reject(channel, err)
		return
	}
	defer conn.Close()
	ch, requests, err := channel.Accept()
	if err != nil {
		c.log.Debug("accept forwarding", "network", target.Network, "address", target.Address, "err", err)
		return
	}
	c.carry(target.Network, ch, requests, conn)
}

// carry copies between a channel and a connection of a network.
func (c *connection) carry(network string, ch ssh.Channel, requests <-chan *ssh.Request, conn net.Conn) {
	if wire.Packets(network) {
		splicePackets(ch, requests, conn)
	} else {
		splice(c.ctx, ch, requests, conn)
	}
}

// reject refuses to open a channel because of an error.
func reject(channel ssh.NewChannel, err error) {
	reason, message := rejection(err)
	_ = channel.Reject(reason, message) // it fails if the link has ended
}

// rejection returns the cause of an error and its number, without the "dial tcp
// ADDRESS" that the client adds itself.
func rejection(err error) (ssh.RejectionReason, string) {
	var errno syscall.Errno
	errors.As(err, &errno)
	message := err.Error()
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Err != nil {
		message = op.Err.Error()
	}
	return wire.RejectionReason(errno), message
}

// splice copies in both directions, and each side's end of data to the other. It
// returns when both directions have ended or the channel is closed.
func splice(ctx context.Context, ch ssh.Channel, requests <-chan *ssh.Request, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	var copies, watch sync.WaitGroup
	sent := make(chan struct{})
	copies.Go(func() {
		defer close(sent)
		_, _ = io.CopyBuffer(struct{ io.Writer }{conn}, ch, make([]byte, wire.MaxData))
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	})
	copies.Go(func() {
		_, err := io.CopyBuffer(ch, struct{ io.Reader }{conn}, make([]byte, wire.MaxData))
		if err != nil {
			_ = ch.Close() // a reset is not an end of data
			return
		}
		_ = ch.CloseWrite()
	})
	watch.Go(func() {
		for req := range requests {
			_ = req.Reply(false, nil)
		}
		// The client has closed. What it sent before is still delivered, but no
		// answer is read.
		_ = conn.SetWriteDeadline(time.Now().Add(lingerTimeout))
		<-sent
		conn.Close()
	})
	copies.Wait()
	_ = ch.Close() // it fails if the client has closed first
	watch.Wait()
}
