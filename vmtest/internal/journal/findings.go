package journal

import (
	"fmt"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
)

// Finding is something in a journal that a test should have expected.
type Finding struct {
	// Unit is the unit that failed, or whose error Entry is, or none.
	Unit UnitID
	// Failed reports that Unit failed. Then Entry is the last report of that.
	Failed bool
	Entry  Entry
	what   string
}

// About reports whether Entry is what another unit, such as systemd, says about Unit.
func (f Finding) About() bool { return f.Unit.Name != "" && f.Entry.about() == f.Unit }

// String returns the finding in one line, safe to print.
func (f Finding) String() string { return tail.Printable(f.what) }

// coreDumped is the MESSAGE_ID of systemd-coredump (systemd's sd-messages.h).
const coreDumped = "fc2e22bc6ee647b6b90729ab34a250b1"

// worstPriority is the largest priority of an error, syslog(3).
const worstPriority = 3

// Findings returns what a test should have expected of entries, which are oldest first:
// units that failed, core dumps, an oops or a warning of the kernel, processes killed for
// lack of memory, jobs dropped because of an ordering cycle, and entries of priority err or
// worse by or about units that are under test.
func Findings(entries []Entry, underTest func(UnitID) bool) []Finding {
	var found []Finding
	failed := make(map[UnitID]bool)
	for _, f := range Failures(entries) {
		failed[f.Unit] = true
		found = append(found, Finding{Unit: f.Unit, Failed: true, Entry: f.Entry, what: f.String()})
	}
	for _, e := range entries {
		what := ""
		f := Finding{Entry: e}
		switch {
		case e.MessageID == coreDumped && e.Field("_UID") == "0":
			what = "a process dumped core" // which an announced failure of the unit does not cover
		case ofKernel(e):
			what = kernelTrouble(e.Message)
		case e.PID == 1 && strings.Contains(e.Message, "to break ordering cycle"):
			what = "systemd dropped a job"
		}
		if what == "" && e.Priority >= 0 && e.Priority <= worstPriority {
			what, f.Unit = errorOf(e, failed, underTest)
		}
		if what == "" {
			continue
		}
		f.what = fmt.Sprintf("%s: %s", what, e)
		found = append(found, f)
	}
	return found
}

// errorOf describes an entry of priority err and names its unit. It returns "" if the unit is
// not under test, or if its failure is reported already.
func errorOf(e Entry, failed map[UnitID]bool, underTest func(UnitID) bool) (what string, unit UnitID) {
	by, about := e.by(), e.about()
	switch {
	case about.Name != "" && failed[about], by.Name != "" && failed[by] && bySystemd(e):
		return "", UnitID{}
	case about.Name != "" && underTest(about):
		return about.String() + " has an error", about
	case by.Name != "" && underTest(by):
		return by.String() + " logged an error", by
	}
	return "", UnitID{}
}

// bySystemd reports whether e is of a process that systemd forked for a unit and that has not
// run the unit's own program yet. Such a process has a name in parentheses. In systemd 262 it
// does not always say which unit it logs about, and journald finds out whose it is only if
// it lives long enough.
func bySystemd(e Entry) bool {
	name := e.Field("_COMM")
	return strings.HasPrefix(name, "(") && strings.HasSuffix(name, ")")
}

// ofKernel reports whether the kernel itself logged e. It gives facility 0 to no record of a
// program that writes to /dev/kmsg.
func ofKernel(e Entry) bool {
	return e.Field("_TRANSPORT") == "kernel" && e.Field("SYSLOG_FACILITY") == "0"
}

// troubles begin the kernel's reports. A soft lockup is not among them, because a host that
// is busy causes one.
var troubles = []struct{ prefix, what string }{
	{"Out of memory: Killed process", "the kernel killed a process for lack of memory"},
	{"Memory cgroup out of memory: Killed process", "the kernel killed a process for lack of memory"},
	{"BUG: ", "the kernel reported a bug"},
	{"Oops: ", "the kernel reported an oops"},
	{"general protection fault", "the kernel reported an oops"},
	{"Unable to handle kernel ", "the kernel reported an oops"},
	{"WARNING: ", "the kernel warned"},
}

func kernelTrouble(message string) string {
	for _, t := range troubles {
		if strings.HasPrefix(message, t.prefix) {
			return t.what
		}
	}
	return ""
}
