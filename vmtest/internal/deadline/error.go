package deadline

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Error reports that a limit was over.
type Error struct {
	Limit
	scale    float64       // by VMTEST_TIMEOUT_SCALE
	slowness float64       // of the host
	left     time.Duration // of the process's time when the limit began; 0 if unlimited
	kept     time.Duration // of it for evidence
}

// stretched returns how long the limit is before the process's time cuts it.
func (e *Error) stretched() time.Duration {
	return time.Duration(min(float64(e.Time)*e.scale*e.slowness, never))
}

// cut reports whether the process's time cuts the limit.
func (e *Error) cut() bool { return e.left != 0 && e.left < e.stretched() }

// used returns how long the limit was in the end.
func (e *Error) used() time.Duration {
	if e.cut() {
		return e.left
	}
	return e.stretched()
}

// Error returns the time that was used, and why if that is not what was asked for.
func (e *Error) Error() string {
	var why []string
	if e.scale != 1 {
		why = append(why, fmt.Sprintf("times %.3g by VMTEST_TIMEOUT_SCALE", e.scale))
	}
	if slow := fmt.Sprintf("%.2g", e.slowness); slow != "1" {
		why = append(why, "times "+slow+" because the host was that slow")
	}
	if e.cut() {
		why = append(why, fmt.Sprintf("cut by go test -timeout, less %v for evidence", e.kept))
	}
	text := fmt.Sprintf("%s within %v (", e.What, e.used().Round(time.Millisecond))
	switch {
	case why == nil && e.Name == "":
		return text + "VMTEST_TIMEOUT_SCALE stretches it)"
	case why == nil:
		return text + e.Name + "; VMTEST_TIMEOUT_SCALE stretches it)"
	case e.Name != "":
		text += e.Name + " of "
	}
	return text + e.Time.String() + ", " + strings.Join(why, ", ") + ")"
}

// Is reports whether target is context.DeadlineExceeded, the error of any other deadline.
func (e *Error) Is(target error) bool { return target == context.DeadlineExceeded }
