package journal

import (
	"fmt"
	"regexp"
	"strconv"

	"example.org/systemd-vmtest/internal/tail"
)

// Messages of PID 1, by their MESSAGE_ID (systemd's sd-messages.h).
const (
	unitProcessExit   = "98e322203f7a4ed290d09fe03c09fe15" // has EXIT_CODE and EXIT_STATUS
	unitFailureResult = "d9b373ed55a64feb8242e02dbe79a49c" // has UNIT_RESULT
)

// Failure is what the journal shows of a unit that failed.
type Failure struct {
	Unit  UnitID
	Times int    // the number of its starts that failed
	Last  string // why it failed last, such as "status 217/USER"
	Entry Entry  // the last report that it failed
}

// String returns the failure in one line, safe to print.
func (f Failure) String() string {
	times := "once"
	if f.Times > 1 {
		times = strconv.Itoa(f.Times) + " times"
	}
	return tail.Printable(fmt.Sprintf("%s failed %s: %s", f.Unit, times, f.Last))
}

// processEnd matches the end of PID 1's message about a process of a unit, as in "Main
// process exited, code=exited, status=217/USER".
var processEnd = regexp.MustCompile(`code=(exited|killed|dumped), status=(\S+)$`)

// how returns how a process ended according to PID 1's message, or "" if it ended well.
func how(message string) string {
	switch end := processEnd.FindStringSubmatch(message); {
	case end == nil || end[2] == "0/SUCCESS":
		return ""
	case end[1] == "exited":
		return "status " + end[2]
	case end[1] == "dumped":
		return "signal " + end[2] + ", core dumped"
	default:
		return "signal " + end[2]
	}
}

// failing is a unit whose failures are being counted.
type failing struct {
	Failure
	ends    map[string]string // of each start's first process that ended badly, by INVOCATION_ID
	results map[string]bool   // the starts that have a result
}

// Failures returns the units that failed according to entries, in the order of their
// first failures. The entries are oldest first.
func Failures(entries []Entry) []Failure {
	var failed []*failing
	units := make(map[UnitID]*failing)
	for _, e := range entries {
		name, id := managedUnit(e), e.MessageID
		if name.Name == "" || id != unitProcessExit && id != unitFailureResult {
			continue
		}
		u := units[name]
		if u == nil {
			u = &failing{Failure: Failure{Unit: name}, ends: make(map[string]string), results: make(map[string]bool)}
			units[name] = u
		}
		if id == unitProcessExit {
			u.processExited(e)
			continue
		}
		if u.Times == 0 {
			failed = append(failed, u)
		}
		u.failed(e)
	}
	failures := make([]Failure, len(failed))
	for i, u := range failed {
		failures[i] = u.Failure
	}
	return failures
}

// managedUnit returns the unit that a systemd reports about in e: PID 1, or the systemd of a
// user, which is in its own init.scope. It returns none for all other entries.
func managedUnit(e Entry) UnitID {
	switch {
	case e.PID == 1:
		return UnitID{Name: e.Field("UNIT")}
	case e.Field("_SYSTEMD_USER_UNIT") == "init.scope":
		return UnitID{e.Field("USER_UNIT"), e.Field("_UID")}
	}
	return UnitID{}
}

func (u *failing) processExited(e Entry) {
	start := e.Invocation
	if end := how(e.Message); end != "" && u.ends[start] == "" {
		u.ends[start] = end
	}
}

func (u *failing) failed(e Entry) {
	start, result := e.Invocation, e.Field("UNIT_RESULT")
	// When PID 1 gives up starting a unit again, it repeats the last result, or reports
	// start-limit-hit, of the last start.
	if u.results[start] && start != "" {
		return
	}
	u.results[start] = true
	u.Times++
	u.Entry = e
	switch end := u.ends[start]; {
	case end == "":
		u.Last = result
	case result == "exit-code" || result == "signal" || result == "core-dump": // end says more
		u.Last = end
	default:
		u.Last = result + ", " + end
	}
}
