package journal

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Of the crash of a Go program, what tells the place is left.
func TestBrief(t *testing.T) {
	of := func(pid int, messages ...string) (entries []Entry) {
		for _, m := range messages {
			entries = append(entries, Entry{PID: pid, Message: m})
		}
		return entries
	}
	texts := func(entries []Entry) (all []string) {
		for _, e := range entries {
			all = append(all, e.Message)
		}
		return all
	}
	trace := of(7, "listening", "panic: nil map", "goroutine 1 gp=0x1 m=0 mp=0x2 [running]:", "panic({0x1, 0x2})", "\tpanic.go:1",
		"main.answer(0x0)", "\tmain.go:7 +0x1", "runtime.main()", "\tproc.go:1", "goroutine 2 [select]:", "main.idle()", "\tmain.go:9", "rax    0x0")
	trace = append(trace, of(1, "Main process exited, code=dumped, status=6/ABRT")...)
	assert.Equal(t, []string{"listening", "panic: nil map", "goroutine 1 gp=0x1 m=0 mp=0x2 [running]:", "main.answer(0x0)", "\tmain.go:7 +0x1",
		"(8 lines of the trace are left out)", "Main process exited, code=dumped, status=6/ABRT"}, texts(Brief(trace)))
	other := of(8, "goroutine 1 [running]:", "runtime.main()", "rax 0x0")
	assert.Equal(t, other, Brief(other), "no crash")
	assert.Empty(t, Brief(nil))
}

func TestCoreOf(t *testing.T) {
	e := Entry{MessageID: coreDumped, Message: "Process 7 (a b) of user 0 dumped core.\n\nStack trace of thread 7:\n#0  0x00007f0c kill (libc.so.6 + 0x3bebc)\n" +
		"#1  0x00007f0d main (a + 0x1)\n\nStack trace of thread 8:\n#0  0x00007f0c read (libc.so.6 + 0x3bebc)\n",
		Fields: map[string][][]byte{"_UID": {[]byte("0")}, "COREDUMP_PID": {[]byte("7")}, "COREDUMP_SIGNAL": {[]byte("11")},
			"COREDUMP_COMM": {[]byte("a b")}, "COREDUMP_FILENAME": {[]byte("/var/lib/systemd/coredump/core.a.zst")}}}
	c, ok := CoreOf(e)
	assert.True(t, ok)
	assert.Equal(t, Core{Path: "/var/lib/systemd/coredump/core.a.zst", Name: "a b", PID: 7, Signal: 11,
		Frames: []string{"kill (libc.so.6 + 0x3bebc)", "main (a + 0x1)"}}, c)
	e.Fields["_UID"] = [][]byte{[]byte("1000")}
	_, ok = CoreOf(e)
	assert.False(t, ok, "what a user logs is no claim")
}

func TestDumped(t *testing.T) {
	e := Entry{PID: 1, MessageID: unitProcessExit, Message: "a.service: Main process exited, code=dumped, status=11/SEGV",
		Fields: map[string][][]byte{"UNIT": {[]byte("a.service")}}}
	killed := e
	killed.Message = "b.service: Main process exited, code=killed, status=11/SEGV"
	liar := e
	liar.PID = 7
	assert.Equal(t, []string{"a.service"}, Dumped([]Entry{e, e, killed}))
	assert.Empty(t, Dumped([]Entry{killed, liar}))
}
