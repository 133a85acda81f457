package journal

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// longestBlock is the most lines of a block whose repetitions are collapsed.
const longestBlock = 20

// numbers match the parts in which the lines of a repeated event differ, such as process
// IDs, counters and times.
var numbers = regexp.MustCompile(`[0-9]+`)

// OfSync reports whether journald logged e because it was asked to synchronize, as this
// framework does before it reads.
func OfSync(e Entry) bool {
	return e.Identifier == "systemd-journald" && strings.HasPrefix(e.Message, "Received client request to sync journal")
}

// OfReload reports whether PID 1 logged e about a daemon-reload, which a test of units does
// all the time.
func OfReload(e Entry) bool {
	return e.PID == 1 && (e.Message == "Reloading." || e.Message == "Reloading..." ||
		strings.HasPrefix(e.Message, "Reload requested from client") || strings.HasPrefix(e.Message, "Reloading finished in "))
}

// clock begins what the kernel says about its clock.
var clock = regexp.MustCompile(`^(clocksource|hrtimer|tsc|TSC|sched_clock)\b`)

// OfClock reports whether the kernel logged e about its clock. It does so at any moment, even
// in the middle of another report, where the host is too busy to run the guest in time.
func OfClock(e Entry) bool { return ofKernel(e) && clock.MatchString(e.Message) }

// Lines returns entries as lines, safe to print. Of a block of lines that repeats, such as
// those of a service that restarts, it has the first occurrence and the number of the
// others. Lines are equal if they differ in numbers only. Blocks are equal if they have
// equal lines in any order, because the order of lines from several processes may vary.
// Of a long report of the kernel it has the beginning, the end, and the place of an oops.
func Lines(entries []Entry) []string {
	var lines []string
	for len(entries) > 0 {
		plain := 0 // before the next long report
		for plain < len(entries) && report(entries[plain:]) <= longestReport {
			plain += max(1, report(entries[plain:]))
		}
		lines = append(lines, blocks(entries[:plain])...)
		entries = entries[plain:]
		n := report(entries)
		lines = append(lines, excerpt(entries[:n])...)
		entries = entries[n:]
	}
	return lines
}

// blocks returns entries as lines, with repeated blocks once.
func blocks(entries []Entry) []string {
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = numbers.ReplaceAllString(e.Identifier+": "+e.Message, "0")
	}
	var lines []string
	for i := 0; i < len(entries); {
		size, times := repetition(keys[i:])
		for _, e := range entries[i : i+size] {
			lines = append(lines, e.lines())
		}
		if times > 1 {
			lines = append(lines, repeated(size, times-1))
		}
		i += size * times
	}
	return lines
}

func (e Entry) lines() string { return strings.ReplaceAll(e.text(), "\n", "\n    ") }

const (
	// longestReport is the most entries of the kernel in a row that are shown whole.
	longestReport = 10
	// edge is how many are shown of the beginning and of the end of a longer report.
	edge = 3
)

// report returns how many entries at the beginning the kernel itself has logged. A report of a
// lack of memory ends with the process that was killed; another one may follow at once.
func report(entries []Entry) int {
	for i, e := range entries {
		switch {
		case !ofKernel(e):
			return i
		case strings.Contains(e.Message, "ut of memory: Killed process "):
			return i + 1
		}
	}
	return len(entries)
}

// excerpt returns the lines of a long report.
func excerpt(entries []Entry) []string {
	var lines []string
	left := 0
	oom := slices.ContainsFunc(entries, func(e Entry) bool { return strings.Contains(e.Message, "invoked oom-killer") })
	for i, e := range entries {
		place := !oom && strings.HasPrefix(e.Message, "RIP: 0010:")
		if i >= edge && i < len(entries)-edge && !place {
			left++
			continue
		}
		if left > 0 {
			lines = append(lines, fmt.Sprintf("(%d lines of the kernel are left out)", left))
			left = 0
		}
		lines = append(lines, e.lines())
	}
	return lines
}

// repeated describes the repetitions that are left out.
func repeated(size, times int) string {
	what, count := "line", "once more"
	if size > 1 {
		what = fmt.Sprintf("%d lines", size)
	}
	if times > 1 {
		count = fmt.Sprintf("%d more times", times)
	}
	return fmt.Sprintf("(last %s repeated %s)", what, count)
}

// repetition returns the size of the block at the beginning of keys, and how often it
// occurs there in a row. It chooses the size that covers the most keys.
func repetition(keys []string) (size, times int) {
	size, times = 1, 1
	for n := 1; n <= min(longestBlock, len(keys)/2); n++ {
		first := counts(keys[:n])
		t := 1
		for (t+1)*n <= len(keys) && maps.Equal(first, counts(keys[t*n:(t+1)*n])) {
			t++
		}
		if t > 1 && n*t > size*times {
			size, times = n, t
		}
	}
	return size, times
}

func counts(keys []string) map[string]int {
	n := make(map[string]int, len(keys))
	for _, k := range keys {
		n[k]++
	}
	return n
}
