package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// shownLines is the most lines of a message that the report shows.
const shownLines = 30

// report prints the messages of faults that were not caught by name, or of all if verbose
// is set, a table of all, and the totals. It reports whether all were caught by name.
func report(w io.Writer, results []result, verbose bool, took time.Duration) bool {
	number := map[outcome]int{}
	for _, r := range results {
		number[r.Outcome]++
		if r.Outcome == named && !verbose {
			continue
		}
		fmt.Fprintf(w, "%s %s: %s\n    want a message that matches %s\n", r.Name, r.Outcome, r.What, r.Message)
		lines := strings.Split(strings.TrimRight(r.Output, "\n"), "\n")
		for _, line := range lines[:min(len(lines), shownLines)] {
			fmt.Fprintf(w, "    | %s\n", line)
		}
	}
	for _, r := range results {
		fmt.Fprintf(w, "%-16s %6.1f s  %-32s %s\n", r.Outcome, r.Time.Seconds(), r.Name, r.What)
	}
	plural := "s"
	if len(results) == 1 {
		plural = ""
	}
	fmt.Fprintf(w, "%d fault%s in %.0f s", len(results), plural, took.Seconds())
	for _, o := range []outcome{named, unnamed, slipped, timedOut, notBuilt, notRun} {
		if number[o] > 0 {
			fmt.Fprintf(w, ", %d %s", number[o], o)
		}
	}
	fmt.Fprintf(w, ": %.1f %% caught by a message that names them\n", 100*float64(number[named])/float64(len(results)))
	return number[named] == len(results)
}
