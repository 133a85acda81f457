package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Test, Output, Key, Value string
}

// read returns the cells of a run. It prints the output of tests that failed. A run that
// has failed or has no end is an error.
func read(in io.Reader, failures io.Writer) ([]row.Cell, error) {
	var cells []row.Cell
	output := make(map[string]*strings.Builder) // by test
	var failed, passed bool
	for d := json.NewDecoder(in); ; {
		var e event
		err := d.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the output of go test -json: %w", err)
		}
		switch e.Action {
		case "output", "build-output":
			if output[e.Test] == nil {
				output[e.Test] = new(strings.Builder)
			}
			output[e.Test].WriteString(e.Output)
		case "attr":
			if e.Key != row.Key {
				continue
			}
			var c row.Cell
			if err := json.Unmarshal([]byte(e.Value), &c); err != nil {
				return nil, fmt.Errorf("read what %s saw: %w", e.Test, err)
			}
			cells = append(cells, c)
		case "fail":
			failed = true
			if out := output[e.Test]; out != nil {
				fmt.Fprint(failures, out.String())
			}
		case "pass":
			passed = passed || e.Test == "" // of the package
		}
		if e.Action == "pass" || e.Action == "skip" {
			delete(output, e.Test)
		}
	}
	switch {
	case failed:
		return nil, errors.New("the run failed")
	case !passed:
		return nil, errors.New("the run has no end")
	case len(cells) == 0:
		return nil, errors.New("no test of the run saw a row: is this the output of go test -json ./scenarios/conformance?")
	}
	return cells, nil
}
