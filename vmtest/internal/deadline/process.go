package deadline

import (
	"context"
	"flag"
	"time"
)

// Reserve is kept back at the end of the process's time for the evidence of a failure, or
// a quarter of that time if it is short.
const Reserve = 20 * time.Second

// started is shortly before package testing starts the clock of -timeout.
var started = time.Now()

// ProcessTime returns when this process was started and how long it may run: go test's
// -timeout ends a test binary, with all its tests (testing.T.Deadline). The contexts of
// tests do not show that. ok is false if there is no such limit. Tests replace it.
var ProcessTime = func() (from time.Time, length time.Duration, ok bool) {
	f := flag.Lookup("test.timeout")
	if f == nil || !flag.Parsed() {
		return time.Time{}, 0, false
	}
	value, _ := f.Value.(flag.Getter)
	if value == nil {
		return time.Time{}, 0, false
	}
	length, _ = value.Get().(time.Duration)
	return started, length, length > 0
}

// kept returns how much of a process's time is kept back from ctx.
func kept(ctx context.Context, length time.Duration) time.Duration {
	reserve := min(Reserve, length/4)
	if isEvidence(ctx) {
		return min(time.Second, reserve)
	}
	return reserve
}

// last returns when a wait with ctx must be over, and what is kept back then.
func last(ctx context.Context) (at time.Time, back time.Duration, ok bool) {
	from, length, ok := ProcessTime()
	back = kept(ctx, length)
	return from.Add(length - back), back, ok
}

// LastCall returns when a process that was to end in time has begun to: when a quarter
// of what BeforeEnd keeps back is over. ok is false if its time has no limit.
func LastCall(ctx context.Context) (at time.Time, ok bool) {
	at, back, ok := last(ctx)
	return at.Add(back / 4), ok
}
