// Package deadline bounds what waits for a guest, on hosts of any speed.
package deadline

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

// Limit is the longest that something may take.
type Limit struct {
	What string        // what has not happened by then, such as "not done"
	Time time.Duration // on a host as fast as the one that limits are chosen on
	Name string        // what sets it, such as "Config.OpTimeout", or ""
}

// Within returns a context that ends with an *Error as its cause when the limit is
// over. The user and the speed of the host stretch the limit.
func Within(ctx context.Context, l Limit) (context.Context, context.CancelFunc) {
	return l.stretch(ctx, hostSpeed.slow)
}

func (l Limit) stretch(ctx context.Context, slow func() float64) (context.Context, context.CancelFunc) {
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

// end returns the limit as the user stretches it.
func (l Limit) end() *Error {
	end := &Error{Limit: l, scale: 1, slowness: 1}
	if scale, err := Scale(); err == nil { // the caller checks Scale
		end.scale = scale
	}
	return end
}

// Error reports that a limit was over.
type Error struct {
	Limit
	scale    float64 // by VMTEST_TIMEOUT_SCALE
	slowness float64 // of the host
}

// Used returns how long the limit l is on this host if the host is not slow.
func (l Limit) Used() time.Duration { return l.end().used() }

// used returns how long the limit was in the end.
func (e *Error) used() time.Duration {
	const most = math.MaxInt64 / 2 // what is left can be added to, and means never
	return time.Duration(min(float64(e.Time)*e.scale*e.slowness, most))
}

// Error returns the time that was used, and why if that is more than was asked for.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s within %v (", e.What, e.used().Round(time.Millisecond))
	if e.Name != "" {
		b.WriteString(e.Name)
	}
	if e.scale == 1 && e.slowness == 1 {
		if e.Name != "" {
			b.WriteString("; ")
		}
		b.WriteString("VMTEST_TIMEOUT_SCALE stretches it)")
		return b.String()
	}
	if e.Name != "" {
		b.WriteString(" of ")
	}
	fmt.Fprint(&b, e.Time)
	if e.scale != 1 {
		fmt.Fprintf(&b, ", times %.3g by VMTEST_TIMEOUT_SCALE", e.scale)
	}
	if e.slowness != 1 {
		fmt.Fprintf(&b, ", times %.2g because this host is that slow now", e.slowness)
	}
	b.WriteString(")")
	return b.String()
}

// Is reports whether target is context.DeadlineExceeded, the error of any other deadline.
func (e *Error) Is(target error) bool { return target == context.DeadlineExceeded }

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
