package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

const (
	// sftpPacket is larger than the 32 KiB that every server takes; package
	// agent takes it, and an emulated processor has fewer packets to turn over.
	sftpPacket = 128 << 10

	// sftpRequests in flight fill a channel's window of 2 MiB.
	sftpRequests = 16
)

// shared is the one SFTP session of a Client.
type shared struct {
	mu      sync.Mutex
	opening *opening
}

// opening is an attempt to open it; the fields are set when done is closed.
type opening struct {
	done   chan struct{}
	client *sftp.Client
	err    error
}

// sftpSession is the link's SFTP session, opened at the first call and shared by all.
// It ends with the Client; do not close it. Its methods take no context: against
// a guest that no longer answers, only Close ends them.
func (c *Client) sftpSession(ctx context.Context) (*sftp.Client, error) {
	if err := c.Err(); err != nil {
		return nil, fmt.Errorf("open sftp: %w", err)
	}
	c.files.mu.Lock()
	o := c.files.opening
	if o == nil {
		o = &opening{done: make(chan struct{})}
		c.files.opening = o
		go c.openSFTP(o)
	}
	c.files.mu.Unlock()

	select {
	case <-o.done:
		return o.client, o.err
	case <-c.done:
		return nil, fmt.Errorf("open sftp: %w", c.Err())
	case <-ctx.Done():
		return nil, fmt.Errorf("open sftp: %w", ended(ctx))
	}
}

func (c *Client) openSFTP(o *opening) {
	defer close(o.done)
	// Not the first caller's context: those that follow wait for the same.
	o.client, o.err = c.newSFTP(context.Background())
	if o.err != nil {
		o.err = fmt.Errorf("open sftp: %w", o.err)
		c.files.mu.Lock()
		c.files.opening = nil
		c.files.mu.Unlock()
	}
}

func (c *Client) newSFTP(ctx context.Context) (*sftp.Client, error) {
	ch, requests, err := c.open(ctx, "session", nil)
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(requests)
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(wire.Subsystem{Name: "sftp"}))
	if err != nil {
		return nil, c.lost(err)
	}
	if !ok {
		ch.Close()
		return nil, fmt.Errorf("the guest has no sftp subsystem")
	}
	client, err := sftp.NewClientPipe(ch, ch,
		sftp.MaxPacketUnchecked(sftpPacket),
		sftp.MaxConcurrentRequestsPerFile(sftpRequests),
		sftp.UseConcurrentWrites(true),
		sftp.UseFstat(true),
	)
	if err != nil {
		return nil, c.lost(err)
	}
	return client, nil
}

// transfer runs fn, which looks at ctx itself between its steps, and gives up on
// it when the guest does not answer even then.
func (c *Client) transfer(ctx context.Context, fn func(*sftp.Client) error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	client, err := c.sftpSession(ctx)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- fn(client) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		timer := time.NewTimer(killWait)
		defer timer.Stop()
		select {
		case err = <-done:
		case <-timer.C:
			return ended(ctx)
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ended(ctx)
	case c.Err() != nil:
		return c.Err()
	}
	return err
}
