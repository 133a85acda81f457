// Package deadline bounds what waits for a guest, on hosts of any speed.
package deadline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"
)

// Limit is the longest that something may take.
type Limit struct {
	What string        // what has not happened by then, such as "not done"
	Time time.Duration // on a host as fast as the one that limits are chosen on
	Name string        // what sets it, such as "Config.OpTimeout", or ""

	// Pace, if not nil, begins to measure how the guest runs. What it returns is called
	// when the limit is over, and returns by which factor the host slowed the guest down
	// since then: 2 if the guest got half of the processor time that it needed.
	Pace func() func() float64
}

// Within returns a context that ends with an *Error as its cause when the limit is over.
// $VMTEST_TIMEOUT_SCALE stretches the limit, and so do a host that is slow when the limit
// is over and one that slowed the guest down until then. See BeforeEnd for what cuts it.
func Within(ctx context.Context, l Limit) (context.Context, context.CancelFunc) {
	return l.stretch(ctx, hostSpeed.slow)
}

// firstWord is what a limit that the process's end has cut leaves to the context of BeforeEnd,
// which ends at the same time and says more plainly why.
const firstWord = 50 * time.Millisecond

func (l Limit) stretch(ctx context.Context, slow func() float64) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	end := l.end()
	if at, back, ok := last(ctx); ok {
		end.left, end.kept = max(time.Until(at), 1), back
	}
	pace := func() float64 { return 1 }
	if l.Pace != nil {
		pace = l.Pace()
	}
	began := time.Now()
	timer := time.AfterFunc(end.used(), func() {
		if !end.cut() && !isEvidence(ctx) {
			end.slowness = min(max(slow(), pace()), mostSlowness)
		}
		rest := time.Duration(0)
		if end.cut() {
			rest = firstWord
		}
		select {
		case <-time.After(end.used() - time.Since(began) + rest):
			cancel(end)
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		timer.Stop()
		cancel(nil)
	}
}

// end returns the limit as the user stretches it.
func (l Limit) end() *Error {
	end := &Error{Limit: l, scale: 1, slowness: 1}
	if scale, err := Scale(); err == nil { // the caller checks Scale
		end.scale = scale
	}
	return end
}

type evidenceKey struct{}

// ForEvidence returns a context without the end of ctx, for what is asked of a guest after
// a failure. BeforeEnd and Within leave it all but the last second of the process's time,
// and Within does not stretch its limits on a slow host.
func ForEvidence(ctx context.Context) context.Context {
	return context.WithValue(context.WithoutCancel(ctx), evidenceKey{}, true)
}

func isEvidence(ctx context.Context) bool { return ctx.Value(evidenceKey{}) != nil }

// BeforeEnd returns a context that ends before the process does, with time for evidence
// left; see Reserve.
func BeforeEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	if at, back, ok := last(ctx); ok {
		return context.WithDeadlineCause(ctx, at, endError{back})
	}
	return context.WithCancel(ctx)
}

// endError reports that the process's time was over, but for what is kept back.
type endError struct{ kept time.Duration }

func (e endError) Error() string {
	return fmt.Sprintf("the test's time is up (go test -timeout) but for %v of evidence", e.kept)
}

// Is reports whether target is context.DeadlineExceeded.
func (endError) Is(target error) bool { return target == context.DeadlineExceeded }

// Struck reports whether ctx has ended by a deadline: a limit, or any other.
func Struck(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}

// Scale returns the factor by which $VMTEST_TIMEOUT_SCALE stretches all limits.
func Scale() (float64, error) {
	v := os.Getenv("VMTEST_TIMEOUT_SCALE")
	if v == "" {
		return 1, nil
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f > 0 && f <= 1000) { // so that NaN is refused too
		return 0, fmt.Errorf("read VMTEST_TIMEOUT_SCALE: %q is not a factor above 0 and up to 1000", v)
	}
	return f, nil
}

// Brief rounds a time for a person to read: to milliseconds, or to tenths of a second if it
// is a second or more.
func Brief(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second / 10)
}

// never is a time that never comes. It can be added to.
const never = math.MaxInt64 / 2
