package journal

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

func exited(unit, start, message string) Entry {
	return entry("MESSAGE", message, "_PID", "1", "MESSAGE_ID", unitProcessExit, "UNIT", unit, "INVOCATION_ID", start)
}

func failedWith(unit, start, result string) Entry {
	return entry("_PID", "1", "MESSAGE_ID", unitFailureResult, "UNIT", unit, "INVOCATION_ID", start, "UNIT_RESULT", result)
}

func TestFailures(t *testing.T) {
	const user = "Main process exited, code=exited, status=217/USER"
	for name, test := range map[string]struct {
		entries []Entry
		want    string
	}{
		"none":        {nil, "[]"},
		"once":        {[]Entry{exited("a.service", "1", user), failedWith("a.service", "1", "exit-code")}, "[a.service failed once: status 217/USER]"},
		"a socket":    {[]Entry{failedWith("a.socket", "", "resources")}, "[a.socket failed once: resources]"},
		"killed":      {[]Entry{exited("a.service", "1", "Main process exited, code=killed, status=9/KILL"), failedWith("a.service", "1", "signal")}, "[a.service failed once: signal 9/KILL]"},
		"dumped":      {[]Entry{exited("a.service", "1", "Main process exited, code=dumped, status=11/SEGV"), failedWith("a.service", "1", "core-dump")}, "[a.service failed once: signal 11/SEGV, core dumped]"},
		"timeout":     {[]Entry{exited("a.service", "1", "Main process exited, code=killed, status=15/TERM"), failedWith("a.service", "1", "timeout")}, "[a.service failed once: timeout, signal 15/TERM]"},
		"control":     {[]Entry{exited("a.service", "1", "Control process exited, code=exited, status=3/NOTIMPLEMENTED"), exited("a.service", "1", "Main process exited, code=killed, status=15/TERM"), failedWith("a.service", "1", "exit-code")}, "[a.service failed once: status 3/NOTIMPLEMENTED]"},
		"well":        {[]Entry{exited("a.service", "1", "Main process exited, code=exited, status=0/SUCCESS"), failedWith("a.service", "1", "protocol")}, "[a.service failed once: protocol]"},
		"exited only": {[]Entry{exited("a.service", "1", user)}, "[]"},
		"a liar":      {[]Entry{entry("_PID", "7", "MESSAGE_ID", unitFailureResult, "UNIT", "a.service", "UNIT_RESULT", "signal")}, "[]"},
		"unsafe":      {[]Entry{failedWith("a.service", "1", "\x1b[2Jx\x07")}, "[a.service failed once: x\ufffd]"},
		"given up, in 262": {[]Entry{
			exited("b.service", "1", user), failedWith("b.service", "1", "exit-code"), failedWith("b.service", "1", "start-limit-hit"),
		}, "[b.service failed once: status 217/USER]"},
		"given up": {[]Entry{
			exited("b.service", "1", user), failedWith("b.service", "1", "exit-code"), failedWith("a.socket", "9", "resources"),
			exited("b.service", "2", user), failedWith("b.service", "2", "exit-code"),
			failedWith("b.service", "2", "exit-code"), // Start request repeated too quickly.
		}, "[b.service failed 2 times: status 217/USER a.socket failed once: resources]"},
	} {
		assert.Equal(t, test.want, fmt.Sprint(Failures(test.entries)), "failures by the word of PID 1: %s", name)
	}
}
