package vmtest

import (
	"context"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// WithTimeout is context.WithTimeout for a caller that waits for a guest: the context ends
// after d, or later on a host that is slow, as all deadlines of this package do (see the
// package's documentation). Its Err is then context.Canceled. Its cause says how long it
// was, and is a context.DeadlineExceeded to errors.Is.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return deadline.Within(ctx, deadline.Limit{What: "not done", Time: d})
}
