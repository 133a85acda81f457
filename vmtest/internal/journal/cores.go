package journal

import (
	"slices"
	"strconv"
	"strings"
)

// Dumped returns the units of the system that had a process dump core, sorted.
func Dumped(entries []Entry) []string {
	var units []string
	for _, e := range entries {
		if u := managedUnit(e); e.MessageID == unitProcessExit && u.Name != "" && u.UID == "" && strings.Contains(e.Message, "code=dumped") {
			units = append(units, u.Name)
		}
	}
	slices.Sort(units)
	return slices.Compact(units)
}

// Core is a core dump that systemd-coredump logged.
type Core struct {
	Path   string
	Name   string
	PID    int
	Signal int
	Frames []string
	Err    string
}

// CoreOf returns the core dump that an entry reports.
func CoreOf(e Entry) (c Core, ok bool) {
	if e.MessageID != coreDumped || e.Field("_UID") != "0" {
		return Core{}, false
	}
	c = Core{Path: e.Field("COREDUMP_FILENAME"), Name: e.Field("COREDUMP_COMM")}
	c.PID, _ = strconv.Atoi(e.Field("COREDUMP_PID"))
	c.Signal, _ = strconv.Atoi(e.Field("COREDUMP_SIGNAL"))
	for line := range strings.Lines(e.Message) {
		// "#0  0x00007f0c5e2a2ebc kill (libc.so.6 + 0x3bebc)", of the first thread
		number, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number != "#"+strconv.Itoa(len(c.Frames)) {
			continue
		}
		rest = strings.TrimSpace(rest)
		if address, function, ok := strings.Cut(rest, " "); ok && strings.HasPrefix(address, "0x") {
			rest = function
		}
		c.Frames = append(c.Frames, rest)
	}
	return c, true
}
