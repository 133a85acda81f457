package scenarios

import (
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// failing is a test that fails on purpose, as one of a user does.
type failing struct {
	name    string
	config  vmtest.Config
	timeout time.Duration // of go test; 0 is a long one
	test    func(*testing.T, *vmtest.Guest)
	cause   map[string]string // by file of the evidence, or its pattern, a regular expression of the cause
}

// failingTests are all of them. TestFailures runs them.
var failingTests = []failing{
	{name: "wrong-state", test: func(t *testing.T, g *vmtest.Guest) {
		g.Unit("condition.service").Start(t)
		g.Unit("condition.service").Wait(t, "active")
	}, cause: map[string]string{
		"status.txt":  `ConditionPathExists=/etc/demo\.conf`,
		"journal.txt": `condition\.service .*unmet condition check ConditionPathExists=/etc/demo\.conf`,
	}},
	{name: "command-hangs", config: vmtest.Config{OpTimeout: 5 * time.Second}, test: func(t *testing.T, g *vmtest.Guest) {
		g.Run(t, "mkfifo", "/run/orders")
		g.Run(t, "cat", "/run/orders")
	}, cause: map[string]string{
		"steps.txt":     `(?m)^\S+  \$ cat /run/orders .*\n    .*not done within `,
		"timeline.txt":  `test   \$ cat /run/orders .*: .*not done within `,
		"processes.txt": `vmtest-agent\.service`,
	}},
	{name: "start-hangs", config: vmtest.Config{OpTimeout: 10 * time.Second}, test: func(t *testing.T, g *vmtest.Guest) {
		g.Unit("unready.service").Start(t)
	}, cause: map[string]string{
		"summary.txt":   `unready\.service start running`,
		"status.txt":    `Active: activating \(start\)`,
		"processes.txt": `unready\.service\n.*cat /run/nothing-comes`,
	}},
	{name: "guest-hangs", config: vmtest.Config{OpTimeout: 5 * time.Second}, test: func(t *testing.T, g *vmtest.Guest) {
		g.Run(t, "sh", "-c", freezePID1)
		g.Unit("condition.service").Start(t)
	}, cause: map[string]string{
		"summary.txt":  `PID 1 did not within`,
		"timeline.txt": `test   MachineUnit\.Start|test   Unit\.Start`,
	}},
	{name: "kernel-panics", test: func(t *testing.T, g *vmtest.Guest) {
		g.Run(t, "sh", "-c", "echo c >/proc/sysrq-trigger")
	}, cause: map[string]string{
		"summary.txt": `panic`,
		"console.txt": `Kernel panic - not syncing: sysrq triggered crash`,
		"steps.txt":   `sysrq-trigger`,
	}},
	{name: "unit-out-of-memory", test: func(t *testing.T, g *vmtest.Guest) {
		g.Unit("hungry.service").Start(t)
		g.Unit("hungry.service").Wait(t, "active")
		g.Unit("hungry.service").Wait(t, "inactive")
	}, cause: map[string]string{
		"summary.txt": `hungry\.service failed once: oom-kill`,
		"journal.txt": `Memory cgroup out of memory: Killed process \d+ \(tail\)`,
		"status.txt":  `Result: oom-kill|result 'oom-kill'`,
	}},
	{name: "guest-out-of-memory", test: func(t *testing.T, g *vmtest.Guest) {
		g.Unit("hungry-all.service").Start(t)
		g.Unit("hungry-all.service").Wait(t, "inactive")
	}, cause: map[string]string{
		"summary.txt": `the guest's kernel killed process \d+ \(dd\) for lack of memory`,
		"journal.txt": `Out of memory: Killed process \d+ \(dd\)`,
	}},
	{name: "core-dumped", test: func(t *testing.T, g *vmtest.Guest) {
		g.Exec(t, vmtest.Command{Args: []string{"systemctl", "start", "crash-away.service"}}) // whose directory is gone then
		g.Unit("crash.service").Start(t)
		g.Unit("crash.service").Wait(t, "inactive")
	}, cause: map[string]string{
		"summary.txt": `\nprocess \d+ \(sh\) dumped core: signal 11/SEGV in kill\+0x\S+ of \S+/libc\.so\.6\n`,
		"cores.txt":   `\n    #0 kill\+0x\S+ of \S+/libc\.so\.6\n(.*\n)*    its file /var/tmp/core is here as core-\d+`,
		"journal.txt": `code=dumped, status=11/SEGV`,
		"core-[0-9]*": "^\x7fELF",
	}},
	{name: "go-program-crashes", test: func(t *testing.T, g *vmtest.Guest) {
		needGo(t)
		g.InstallGo(t, "./testdata/failures/crash", "/usr/local/bin/crash")
		g.Unit("go-crash.service").Start(t)
		g.Unit("go-crash.service").Wait(t, "inactive")
	}, cause: map[string]string{
		"summary.txt": `\nprocess \d+ \(crash\) dumped core: signal 6/ABRT in runtime\.`,
		"cores.txt":   `\n    #1 runtime\.\S+ \(\w+\.go:\d+\) of /usr/local/bin/crash\n`,
		"journal.txt": `main\.answer\(`,
	}},
	{name: "qemu-killed", test: func(t *testing.T, g *vmtest.Guest) {
		g.Run(t, "logger", "the last words")
		g.ExpectEntry(t, vmtest.JournalQuery{Contains: "the last words"})
		for _, child := range children(t) {
			pid, err := strconv.Atoi(child)
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}
		g.Run(t, "true")
	}, cause: map[string]string{
		"summary.txt": `the guest is gone: QEMU exited: signal: killed`,
		"journal.txt": `the last words`,
	}},
	{name: "deadline", timeout: 40 * time.Second, test: func(t *testing.T, g *vmtest.Guest) {
		g.Exec(t, vmtest.Command{Args: []string{"sleep", "infinity"}})
	}, cause: map[string]string{
		"steps.txt": `sleep infinity.*\n    .*the test's time is up \(go test -timeout\)`,
	}},
	{name: "test-hangs", timeout: 40 * time.Second, test: func(t *testing.T, g *vmtest.Guest) {
		g.Unit("restarts.service").Start(t)
		g.Unit("restarts.service").Wait(t, "failed") // given up
		select {}                                    // until go test -timeout kills the process
	}, cause: map[string]string{
		"summary.txt": `restarts\.service failed 5 times: status 78/CONFIG`,
	}},
	{name: "agent-killed", test: func(t *testing.T, g *vmtest.Guest) {
		g.Run(t, "logger", "the last words")
		g.ExpectEntry(t, vmtest.JournalQuery{Contains: "the last words"})
		g.Run(t, "sh", "-c", "kill -KILL $PPID; cat")
	}, cause: map[string]string{
		"steps.txt":   `kill -KILL .*\n    .*the guest's agent closed the link`,
		"journal.txt": `the last words`,
	}},
	{name: "restarts", test: func(t *testing.T, g *vmtest.Guest) {
		g.Unit("restarts.service").Start(t)
		g.Unit("restarts.service").Wait(t, "failed") // given up
		t.Error("nobody answers")
	}, cause: map[string]string{
		"summary.txt": `restarts\.service failed 5 times: status 78/CONFIG`,
		"journal.txt": `cannot open /etc/demo\.conf: No such file or directory`,
		"status.txt":  `start-limit-hit|Start request repeated too quickly`,
	}},
	{name: "address-in-use", test: func(t *testing.T, g *vmtest.Guest) {
		g.Unit("holder.service").Start(t)
		g.Run(t, "sh", "-c", "until ss -lnt | grep -q :9091; do :; done")
		g.Unit("port.socket").Start(t)
	}, cause: map[string]string{
		"summary.txt":   `port\.socket: Failed to create listening socket .*Address already in use`,
		"listening.txt": `127\.0\.0\.1:9091 .*"nc"`,
	}},
	{name: "permission-denied", test: func(t *testing.T, g *vmtest.Guest) {
		g.Unit("strict.service").Start(t)
	}, cause: map[string]string{
		"summary.txt": `/var/lib/demo\.count: Read-only file system`,
		"show.txt":    `ProtectSystem=strict`,
	}},
	{name: "nothing-failed", test: func(t *testing.T, g *vmtest.Guest) {
		if text := g.Run(t, "uname", "-o"); text != "GNU/Hurd\n" {
			t.Errorf("the system is %q, want %q", text, "GNU/Hurd\n")
		}
	}, cause: map[string]string{
		"steps.txt": `(?m)^\S+  \$ uname -o .*\n    GNU/Linux$`,
	}},
}
