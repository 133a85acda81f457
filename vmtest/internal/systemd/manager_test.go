package systemd

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A call that waits for a connection holds up nobody longer than the other's own context
// lasts, and all share the one attempt.
func TestCallersShareADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newFake(t)
		release := make(chan struct{})
		dials := 0
		m := NewManager(func(ctx context.Context) (net.Conn, error) {
			dials++
			select {
			case <-release:
				return f.dial(ctx)
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		})
		defer m.Close(net.ErrClosed)

		first, cancelFirst := context.WithCancel(t.Context())
		firstDone, secondDone := make(chan error, 1), make(chan error, 1)
		go func() { _, err := m.Conn(first); firstDone <- err }()
		go func() { _, err := m.Conn(t.Context()); secondDone <- err }()
		synctest.Wait()

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := m.Conn(short)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))

		cancelFirst() // and the dial goes on for the second
		assert.ErrorIs(t, <-firstDone, context.Canceled)
		close(release)
		require.NoError(t, <-secondDone)
		assert.Equal(t, 1, dials)
	})
}

func TestADialEndsWithItsLastCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialErr error
		m := NewManager(func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			dialErr = ctx.Err()
			return nil, dialErr
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := m.Conn(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		assert.ErrorIs(t, dialErr, context.Canceled)
	})
}

// A systemd that accepts a connection and does not answer ends no later than the caller.
func TestASilentSystemd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var theirs net.Conn
		m := NewManager(func(context.Context) (ours net.Conn, err error) {
			ours, theirs = net.Pipe()
			go func() { _, _ = theirs.Read(make([]byte, 1)) }()
			return ours, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := m.Conn(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		theirs.Close()
	})
}

// Close ends what waits for a connection or for an answer, and says why.
func TestClose(t *testing.T) {
	for name, cause := range map[string]error{"closed": net.ErrClosed, "saved": errors.New("the machine is saved")} {
		t.Run("attempt/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewManager(func(ctx context.Context) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				})
				done := make(chan error, 1)
				go func() { _, err := m.Conn(t.Context()); done <- err }()
				synctest.Wait()
				m.Close(cause)
				assert.EqualError(t, <-done, "connect to systemd: "+cause.Error())
			})
		})
		for method, call := range map[string]func(context.Context, *Manager) error{
			"StartUnit": func(ctx context.Context, m *Manager) error { return m.Run(ctx, Start, "a.service") },
			"KillUnit":  func(ctx context.Context, m *Manager) error { return m.Kill(ctx, "a.service", 9) },
			"signal": func(ctx context.Context, m *Manager) error {
				_, err := m.WaitUnit(ctx, "a.service", "inactive")
				return err
			},
		} {
			t.Run(method+"/"+name, func(t *testing.T) {
				bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
					f.unit("a.service", "active", "running", nil)
					release := make(chan struct{})
					f.on[method] = func([]any) ([]any, error) { <-release; return nil, nil }
					defer close(release)
					done := make(chan error, 1)
					go func() { done <- call(t.Context(), m) }()
					synctest.Wait()
					m.Close(cause)
					err := <-done
					assert.ErrorIs(t, err, cause)
					assert.NotContains(t, err.Error(), "systemd closed")
				})
			})
		}
	}
}

// A socket that stays away is an error in the end, also for a caller with no deadline.
func TestASocketThatStaysAway(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		refused := &net.OpError{Op: "dial", Err: errors.New("away")}
		f.refusing = refused
		_, err := m.Conn(t.Context())
		assert.ErrorIs(t, err, refused)
		assert.Equal(t, 1, f.dialed, "an error that is not a refusal")

		f.refusing = syscall.ECONNREFUSED
		_, err = m.Conn(t.Context())
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.ErrorContains(t, err, "no connection within 1m0s")
	})
}

// A call on a connection that this host has closed names the cause, and not the user.
func TestCallAfterClose(t *testing.T) {
	saved := errors.New("the machine is saved")
	for want, call := range map[string]func(context.Context, *connection) error{
		"read properties of a.service": func(ctx context.Context, c *connection) error {
			_, err := c.unit(ctx, "a.service")
			return err
		},
		"read properties of b.service": func(ctx context.Context, c *connection) error {
			_, err := c.allProperties(ctx, "b.service")
			return err
		},
		"list jobs":         func(ctx context.Context, c *connection) error { _, err := c.jobs(ctx, "a.service"); return err },
		"list failed units": func(ctx context.Context, c *connection) error { _, err := c.failed(ctx); return err },
		"list sockets":      func(ctx context.Context, c *connection) error { _, err := c.sockets(ctx); return err },
		"list units": func(ctx context.Context, c *connection) error {
			_, err := c.withOnFailure(ctx, "a.service")
			return err
		},
		"look for a.service": func(ctx context.Context, c *connection) error {
			_, err := c.loaded(ctx, "a.service")
			return err
		},
		errUnanswered.Error(): func(ctx context.Context, c *connection) error {
			j := pendingJob{verb: Start, unit: "a.service"}
			return j.queue(ctx, c, nil)
		},
	} {
		t.Run(want, func(t *testing.T) {
			bubble(t, func(t *testing.T, _ *fakeSystemd, m *Manager) {
				err := m.follow(t.Context(), func(c *connection, _ *signals) error {
					m.Close(saved)
					return call(t.Context(), c)
				})
				assert.EqualError(t, err, want+": the machine is saved")
				assert.ErrorIs(t, err, saved)
			})
		})
	}
}
