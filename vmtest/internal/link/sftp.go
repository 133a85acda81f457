package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// sftpRequests is the number of requests in flight, which fill a channel's window of
// 2 MiB.
const sftpRequests = 16

// shared is a Client's SFTP session.
type shared struct {
	mu      sync.Mutex
	opening *opening // nil before the first use, and after the session ended
}

// opening is an attempt to open the session. The fields are set when done is closed.
type opening struct {
	done   chan struct{}
	client *sftp.Client
	err    error
}

// sftpSession returns the link's SFTP session, which it opens at the first call. All
// callers share it, and it ends with the Client; do not close it. Its methods take no
// context: if the guest does not answer, only Client.Close ends them.
func (c *Client) sftpSession(ctx context.Context) (*opening, error) {
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
		return o, o.err
	case <-c.done:
		return nil, fmt.Errorf("open sftp: %w", c.Err())
	case <-ctx.Done():
		return nil, fmt.Errorf("open sftp: %w", ended(ctx))
	}
}

// openSFTP opens the session and returns when it has ended.
func (c *Client) openSFTP(o *opening) {
	// Without the first caller's context, because others wait for the same session.
	o.client, o.err = c.newSFTP(context.Background())
	if o.err == nil {
		close(o.done)
		_ = o.client.Wait() // its error is what the calls in progress return
		c.files.forget(o)
		return
	}
	o.err = fmt.Errorf("open sftp: %w", o.err)
	c.files.forget(o)
	close(o.done)
}

// forget has the next use open a new session.
func (s *shared) forget(o *opening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening == o {
		s.opening = nil
	}
}

func (c *Client) newSFTP(ctx context.Context) (_ *sftp.Client, err error) {
	ch, requests, err := c.open(ctx, "session", nil)
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(requests)
	defer func() {
		if err != nil {
			ch.Close()
		}
	}()
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(wire.Subsystem{Name: "sftp"}))
	if err != nil {
		return nil, c.lost(err)
	}
	if !ok {
		return nil, errors.New("the agent refused the sftp subsystem")
	}
	client, err := sftp.NewClientPipe(ch, ch,
		sftp.MaxPacketUnchecked(wire.MaxFileData),
		sftp.MaxConcurrentRequestsPerFile(sftpRequests),
		sftp.UseConcurrentWrites(true),
		sftp.UseFstat(true),
	)
	if err != nil {
		return nil, c.lost(err)
	}
	return client, nil
}

// session is the SFTP session as one call of transfer uses it.
type session struct {
	*sftp.Client
	owner *Owner // of what is written; nil is the agent's user

	mu        sync.RWMutex
	abandoned error // why the call has returned without its work
}

// err returns an error if the call has returned. It is for a step that others see in the
// guest. The guest's answer to a step may come later.
func (s *session) err() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.abandoned
}

// step runs fn, a step that others see on the host, unless the call has returned. The call
// does not return while fn runs.
func (s *session) step(fn func() error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.abandoned != nil {
		return s.abandoned
	}
	return fn()
}

func (s *session) abandon(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = err
}

// transfer runs fn, which checks ctx itself between its steps. If ctx has ended and
// the guest does not answer, transfer returns without fn. Then fn may still clean up, but
// it takes no other step.
func (c *Client) transfer(ctx context.Context, fn func(*session) error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	o, err := c.sftpSession(ctx)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	s := &session{Client: o.client}
	go func() { done <- fn(s) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		timer := time.NewTimer(killWait)
		defer timer.Stop()
		select {
		case err = <-done:
		case <-timer.C:
			s.abandon(ended(ctx))
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
	case errors.Is(err, sftp.ErrSSHFxConnectionLost):
		c.files.forget(o)
	}
	return err
}
