package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
)

// outcome is what became of a fault.
type outcome string

const (
	named    outcome = "caught and named"
	unnamed  outcome = "caught, unnamed"
	slipped  outcome = "slipped through"
	notBuilt outcome = "did not build"
	timedOut outcome = "timed out"
	notRun   outcome = "test did not run"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Test, Output string
}

// judge reads the output of go test -json. The message is the output of the tests that
// failed, without what names them, and without the evidence of the guest.
func judge(in io.Reader, words *regexp.Regexp) (o outcome, message string, err error) {
	var output []event
	passes := map[string]bool{} // tests; one without an end has failed, too
	var skipped, broken, failed bool
	for d := json.NewDecoder(in); ; {
		var e event
		err := d.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", "", fmt.Errorf("read the output of go test -json: %w", err)
		}
		switch e.Action {
		case "output", "build-output":
			output = append(output, e)
		case "build-fail":
			broken = true
		case "pass":
			passes[e.Test] = true
		case "skip":
			skipped = skipped || e.Test != ""
		case "fail":
			failed = true
		}
	}
	var b strings.Builder
	for _, e := range output {
		if !passes[e.Test] {
			b.WriteString(e.Output)
		}
	}
	message = messageOf(tail.Printable(b.String()))
	switch {
	case broken:
		return notBuilt, message, nil
	case strings.Contains(message, "panic: test timed out after "):
		return timedOut, message, nil
	case failed && words.MatchString(message):
		return named, message, nil
	case failed:
		return unnamed, message, nil
	case len(passes) > 1 && !skipped: // the package passes, too
		return slipped, "", nil
	}
	return notRun, "", nil
}

// frame are the lines by which go test and testify name a test and its place.
var frame = regexp.MustCompile(`^(\s+\t +\t{4}\S+:\d+$|=== |\s*--- (FAIL|PASS|SKIP): |FAIL\b|ok\s|\s+(Error Trace|Test):\s|exit status )`)

// stacks begins what a test binary prints about its goroutines when it panics.
var stacks = regexp.MustCompile(`^goroutine \d+ \[`)

// messageOf returns the output of tests without frame, evidence and stacks. A message that is
// logged begins after four spaces, its further lines after eight.
func messageOf(output string) string {
	var b strings.Builder
	evidence := false
	for line := range strings.Lines(output) {
		if stacks.MatchString(line) {
			break
		}
		if evidence && strings.HasPrefix(line, "        ") {
			continue
		}
		evidence = strings.Contains(line, "evidence from the guest")
		if !evidence && !frame.MatchString(line) {
			b.WriteString(line)
		}
	}
	return b.String()
}
