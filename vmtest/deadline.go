package vmtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// WithTimeout is context.WithTimeout for what waits for a guest: the context ends
// after d, or later on a host that is slower than deadlines are made for, as all
// deadlines of this package do (see the package's documentation). Its Err is then
// context.Canceled, and its cause says how long it was, and is a
// context.DeadlineExceeded to errors.Is.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return within(ctx, limit{what: "not done", time: d})
}

// limit is the longest that something may take.
type limit struct {
	what string        // what has not come about then, e.g. "not done"
	time time.Duration // on a host of the speed that deadlines are made for
	name string        // what sets it, e.g. "Config.OpTimeout", or ""
}

// within returns a context that ends with a *deadlineError as its cause when the
// limit is over, as the user and the speed of the host stretch it.
func within(ctx context.Context, l limit) (context.Context, context.CancelFunc) {
	return l.stretch(ctx, hostSpeed.slow)
}

func (l limit) stretch(ctx context.Context, slow func() float64) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	end := l.end()
	began := time.Now()
	timer := time.AfterFunc(end.used(), func() {
		end.slowness = slow()
		select {
		case <-time.After(end.used() - time.Since(began)):
			cancel(end)
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		timer.Stop()
		cancel(nil)
	}
}

// end is the limit as the user stretches it.
func (l limit) end() *deadlineError {
	end := &deadlineError{limit: l, scale: 1, slowness: 1}
	if scale, err := timeoutScale(); err == nil { // Config.complete tells of the error
		end.scale = scale
	}
	return end
}

// deadlineError says that a deadline of this package has struck.
type deadlineError struct {
	limit
	scale    float64 // by VMTEST_TIMEOUT_SCALE
	slowness float64 // of the host
}

// used is how long the deadline was.
func (e *deadlineError) used() time.Duration {
	const most = math.MaxInt64 / 2 // what is left can be added to, and means never
	return time.Duration(min(float64(e.time)*e.scale*e.slowness, most))
}

// Error has the time that was used, and when that is more than was asked for, why.
func (e *deadlineError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s within %v (", e.what, e.used().Round(time.Millisecond))
	if e.name != "" {
		b.WriteString(e.name)
	}
	if e.scale == 1 && e.slowness == 1 {
		if e.name != "" {
			b.WriteString("; ")
		}
		b.WriteString("VMTEST_TIMEOUT_SCALE stretches it)")
		return b.String()
	}
	if e.name != "" {
		b.WriteString(" of ")
	}
	fmt.Fprint(&b, e.time)
	if e.scale != 1 {
		fmt.Fprintf(&b, ", times %.3g by VMTEST_TIMEOUT_SCALE", e.scale)
	}
	if e.slowness != 1 {
		fmt.Fprintf(&b, ", times %.2g because this host is that slow now", e.slowness)
	}
	b.WriteString(")")
	return b.String()
}

// Is makes it the same to errors.Is as the deadline of any other context.
func (e *deadlineError) Is(target error) bool { return target == context.DeadlineExceeded }

// struck tells whether ctx has ended by a deadline, be it one of this package, the
// caller's or the test's.
func struck(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}

// timeoutScale is the factor by which the user stretches all deadlines.
func timeoutScale() (float64, error) {
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
