package journal

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// logged returns entries of PID 1 with these messages.
func logged(messages ...string) []Entry {
	var entries []Entry
	for _, m := range messages {
		entries = append(entries, Entry{Time: time.UnixMilli(0), Message: m, Identifier: "systemd", PID: 1})
	}
	return entries
}

func TestRepeatedLinesAreCollapsed(t *testing.T) {
	const p = "00:00:00.000 systemd[1]: "
	messages := []string{"before"}
	for i := range 7 {
		round := []string{fmt.Sprintf("restart counter is at %d", i), "Started a.", fmt.Sprintf("[%d] no such user", 100+i), "exited, status=217/USER", "Failed."}
		if i%2 == 1 { // another process's line may come later
			round[2], round[3] = round[3], round[2]
		}
		messages = append(messages, round...)
	}
	messages = append(messages, "after")
	assert.Equal(t, []string{
		p + "before",
		p + "restart counter is at 0", p + "Started a.", p + "[100] no such user", p + "exited, status=217/USER", p + "Failed.",
		"(last 5 lines repeated 6 more times)",
		p + "after",
	}, Lines(logged(messages...)))
}

func TestLinesThatDoNotRepeat(t *testing.T) {
	const p = "00:00:00.000 systemd[1]: "
	assert.Empty(t, Lines(nil))
	assert.Equal(t, []string{p + "a", p + "b", p + "a"}, Lines(logged("a", "b", "a")))
	assert.Equal(t, []string{p + "a", "(last line repeated once more)", p + "b"}, Lines(logged("a", "a", "b")))
	assert.Equal(t, []string{p + "a", p + "a", p + "b", "(last 3 lines repeated once more)"}, Lines(logged("a", "a", "b", "a", "a", "b")), "the longest repetition")
	assert.Equal(t, []string{p + "two\n    lines"}, Lines(logged("two\nlines")))
}

// A long report of the kernel has its edges, and where the kernel was.
func TestLongReportOfTheKernel(t *testing.T) {
	kernel := map[string][][]byte{"_TRANSPORT": {[]byte("kernel")}, "SYSLOG_FACILITY": {[]byte("0")}}
	entries := logged("before")
	for i := range 20 {
		message := fmt.Sprintf("line %c", 'a'+i)
		if i == 7 {
			message = "RIP: 0010:oops+0x1/0x2"
		}
		entries = append(entries, Entry{Time: time.UnixMilli(0), Identifier: "kernel", Message: message, Fields: kernel})
	}
	entries = append(entries, logged("after")...)
	const p = "00:00:00.000 kernel: "
	assert.Equal(t, []string{
		"00:00:00.000 systemd[1]: before",
		p + "line a", p + "line b", p + "line c", "(4 lines of the kernel are left out)",
		p + "RIP: 0010:oops+0x1/0x2", "(9 lines of the kernel are left out)",
		p + "line r", p + "line s", p + "line t",
		"00:00:00.000 systemd[1]: after",
	}, Lines(entries))
	assert.Len(t, Lines(entries[1:8]), 7, "a short one is whole")

	entries[13].Message = "Out of memory: Killed process 7 (dd)"
	assert.Contains(t, Lines(entries), p+"Out of memory: Killed process 7 (dd)", "in the middle of two reports")
}
