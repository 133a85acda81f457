package vmtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// BenchmarkWait measures how long after a signal of systemd has arrived, on the connection of
// the wait itself, the wait returns that it ends.
func BenchmarkWait(b *testing.B) {
	m := machine(b, benchConfig(b, Config{}))
	defer m.Close()
	ctx := b.Context()
	tap := &tap{chunks: make(chan chunk, 1<<16)}
	manager := systemd.NewManager(func(ctx context.Context) (net.Conn, error) {
		var err error
		tap.Conn, err = m.vm.Session().Dial(ctx, "unix", systemd.PrivateSocket)
		return tap, err
	})
	defer manager.Close(net.ErrClosed)
	_, err := manager.Conn(ctx)
	require.NoError(b, err)
	signals := make(chan arrival, 1<<16)
	go tap.decode(signals)
	for _, wait := range []struct {
		figure string
		wait   func(unit string) error
	}{
		{"wait_after_signal_ms", func(unit string) error {
			_, err := manager.WaitUnit(ctx, unit, "inactive")
			return err
		}},
		{"wait_property_after_signal_ms", func(unit string) error {
			_, err := manager.WaitProperty(ctx, unit, "ActiveState", "inactive")
			return err
		}},
		{"wait_instances_after_signal_ms", func(unit string) error {
			_, err := manager.WaitInstances(ctx, "sleeper@.service", 0)
			return err
		}},
	} {
		var after []float64
		for i := range 15 {
			name := fmt.Sprintf("sleeper@%d.service", i)
			u, err := m.StartTransient(ctx, name, dbus.PropExecStart([]string{m.Image().BinDir() + "/sleep", "infinity"}, false))
			require.NoError(b, err)
			var returned time.Time
			var waits errgroup.Group // only the benchmark's goroutine may call FailNow
			waits.Go(func() error {
				defer func() { returned = time.Now() }()
				return wait.wait(name)
			})
			time.Sleep(300 * time.Millisecond) // the wait has looked
			killed := time.Now()
			require.NoError(b, u.Kill(ctx, 15))
			seen := bareSignal(b, signals, name, killed)
			require.NoError(b, waits.Wait())
			after = append(after, returned.Sub(seen).Seconds()*1000)
		}
		report(b, wait.figure, median(after), "ms")
	}
}

// tap keeps when each part of a stream arrived.
type tap struct {
	net.Conn
	chunks chan chunk
	last   chunk // that decode has not read
}

type chunk struct {
	at   time.Time
	data []byte
}

// arrival is a signal, and when its last byte arrived.
type arrival struct {
	signal *godbus.Message
	at     time.Time
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if n > 0 {
		t.chunks <- chunk{time.Now(), bytes.Clone(p[:n])}
	}
	return n, err
}

// unread is the stream again.
type unread struct{ *tap }

func (u unread) Read(p []byte) (int, error) {
	if len(u.last.data) == 0 {
		u.last = <-u.chunks
	}
	n := copy(p, u.last.data)
	u.last.data = u.last.data[n:]
	return n, nil
}

// decode sends the signals of the stream, until a message is none.
func (t *tap) decode(to chan<- arrival) {
	for one := make([]byte, 1); one[0] != '\n'; { // the end of the authentication
		unread{t}.Read(one)
	}
	for {
		m, err := godbus.DecodeMessage(unread{t})
		if err != nil {
			return
		}
		if m.Type == godbus.TypeSignal {
			to <- arrival{m, t.last.at}
		}
	}
}

// bareSignal returns when the first signal after a time arrived that a unit is inactive. It is
// so, too, before it starts.
func bareSignal(b *testing.B, signals chan arrival, unit string, after time.Time) time.Time {
	path := godbus.ObjectPath("/org/freedesktop/systemd1/unit/" + dbus.PathBusEscape(unit))
	for {
		select {
		case a := <-signals:
			if a.signal.Headers[godbus.FieldPath].Value() != path || len(a.signal.Body) < 2 || a.at.Before(after) {
				continue
			}
			changed, _ := a.signal.Body[1].(map[string]godbus.Variant)
			if changed["ActiveState"].Value() == "inactive" {
				return a.at
			}
		case <-time.After(time.Minute):
			b.Fatal("no signal")
		}
	}
}
