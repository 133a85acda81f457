package journal

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFindings(t *testing.T) {
	const at = ": 03:04:05.000 "
	for name, test := range map[string]struct {
		entries []Entry
		want    []string
	}{
		"nothing": {[]Entry{entry("MESSAGE", "fine", "PRIORITY", "6", "_SYSTEMD_UNIT", "a.service")}, nil},
		"a failed unit": {[]Entry{
			exited("b.service", "1", "Main process exited, code=exited, status=3/NOTIMPLEMENTED"),
			failedWith("b.service", "1", "exit-code"),
			entry("MESSAGE", "Failed to start b.", "PRIORITY", "3", "_PID", "1", "UNIT", "b.service"),
		}, []string{"b.service failed once: status 3/NOTIMPLEMENTED"}},
		"a failed unit under test": {[]Entry{
			failedWith("a.service", "1", "timeout"),
			entry("MESSAGE", "Failed to start a.", "PRIORITY", "3", "_PID", "1", "UNIT", "a.service"),
		}, []string{"a.service failed once: timeout"}},
		"why systemd could not run a unit": {[]Entry{
			entry("MESSAGE", "a.service: no such user", "PRIORITY", "3", "_SYSTEMD_UNIT", "a.service", "_COMM", "(a)"),
			failedWith("a.service", "1", "exit-code"),
		}, []string{"a.service failed once: exit-code"}},
		"why a unit says that it failed": {[]Entry{
			entry("MESSAGE", "no", "PRIORITY", "3", "_SYSTEMD_UNIT", "a.service", "SYSLOG_IDENTIFIER", "a", "_COMM", "a"),
			failedWith("a.service", "1", "exit-code"),
		}, []string{"a.service failed once: exit-code", "a.service logged an error" + at + "a: no"}},
		"a lie about an ordering cycle": {[]Entry{entry("MESSAGE", "Job x deleted to break ordering cycle", "_PID", "7")}, nil},
		"a failed unit of a user": {[]Entry{
			entry("MESSAGE_ID", unitFailureResult, "_PID", "70", "_SYSTEMD_USER_UNIT", "init.scope", "USER_UNIT", "u.service", "UNIT_RESULT", "timeout"),
		}, []string{"u.service failed once: timeout"}},
		"a unit of a user that lies": {[]Entry{
			entry("MESSAGE_ID", unitFailureResult, "_PID", "71", "_SYSTEMD_USER_UNIT", "x.service", "USER_UNIT", "u.service", "UNIT_RESULT", "timeout"),
		}, nil},
		"an error by a unit under test":    {[]Entry{entry("MESSAGE", "no", "PRIORITY", "3", "_SYSTEMD_UNIT", "a.service", "SYSLOG_IDENTIFIER", "a")}, []string{"a.service logged an error" + at + "a: no"}},
		"an error about a unit under test": {[]Entry{entry("MESSAGE", "no", "PRIORITY", "2", "UNIT", "a.service", "SYSLOG_IDENTIFIER", "x")}, []string{"a.service has an error" + at + "x: no"}},
		"an error by a user's unit":        {[]Entry{entry("MESSAGE", "no", "PRIORITY", "3", "_SYSTEMD_USER_UNIT", "a.service", "_SYSTEMD_UNIT", "user@1000.service", "_UID", "1000")}, []string{"a.service of user 1000 logged an error" + at + ": no"}},
		"an error by another user's":       {[]Entry{entry("MESSAGE", "no", "PRIORITY", "3", "_SYSTEMD_USER_UNIT", "a.service", "_UID", "0", "_SYSTEMD_OWNER_UID", "1001")}, nil},
		"an error about a user's unit":     {[]Entry{entry("MESSAGE", "no", "PRIORITY", "3", "USER_UNIT", "a.service", "_UID", "1000")}, []string{"a.service of user 1000 has an error" + at + ": no"}},
		"an error about another user's":    {[]Entry{entry("MESSAGE", "no", "PRIORITY", "3", "OBJECT_SYSTEMD_USER_UNIT", "a.service", "OBJECT_SYSTEMD_OWNER_UID", "1001", "_UID", "0")}, nil},
		"an error by another unit":         {[]Entry{entry("MESSAGE", "no", "PRIORITY", "3", "_SYSTEMD_UNIT", "c.service")}, nil},
		"a warning":                        {[]Entry{entry("MESSAGE", "no", "PRIORITY", "4", "_SYSTEMD_UNIT", "a.service")}, nil},
		"an entry without a priority":      {[]Entry{entry("MESSAGE", "no", "_SYSTEMD_UNIT", "a.service")}, nil},
		"a core dump":                      {[]Entry{entry("MESSAGE", "Process 7 dumped core.", "MESSAGE_ID", coreDumped, "_UID", "0", "COREDUMP_UNIT", "c.service")}, []string{"a process dumped core" + at + ": Process 7 dumped core."}},
		"a lie about a core dump":          {[]Entry{entry("MESSAGE", "x", "MESSAGE_ID", coreDumped, "_UID", "7")}, nil},
		"the kernel": {[]Entry{
			entry("MESSAGE", "WARNING: CPU: 0 PID: 1", "_TRANSPORT", "kernel", "SYSLOG_FACILITY", "0", "SYSLOG_IDENTIFIER", "kernel"),
			entry("MESSAGE", "Out of memory: Killed process 7 (x)", "_TRANSPORT", "kernel", "SYSLOG_FACILITY", "0", "SYSLOG_IDENTIFIER", "kernel"),
			entry("MESSAGE", "BUG: x", "_TRANSPORT", "kernel", "SYSLOG_FACILITY", "1", "SYSLOG_IDENTIFIER", "liar"),
			entry("MESSAGE", "BUG: x", "_TRANSPORT", "journal"),
			entry("MESSAGE", "watchdog: BUG: soft lockup", "_TRANSPORT", "kernel", "SYSLOG_FACILITY", "0"),
		}, []string{"the kernel warned" + at + "kernel: WARNING: CPU: 0 PID: 1", "the kernel killed a process for lack of memory" + at + "kernel: Out of memory: Killed process 7 (x)"}},
		"an ordering cycle": {[]Entry{
			entry("MESSAGE", "x.service: Job y.service/start deleted to break ordering cycle starting with x.service/start", "_PID", "1", "PRIORITY", "3", "UNIT", "x.service", "SYSLOG_IDENTIFIER", "systemd"),
		}, []string{"systemd dropped a job" + at + "systemd[1]: x.service: Job y.service/start deleted to break ordering cycle starting with x.service/start"}},
	} {
		var texts []string
		for _, f := range Findings(test.entries, func(u UnitID) bool { return u.Name == "a.service" && u.UID != "1001" }) {
			texts = append(texts, f.String())
		}
		assert.Equal(t, test.want, texts, name)
	}
}
