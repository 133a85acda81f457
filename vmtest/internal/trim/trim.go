// Package trim lists what a guest goes without by default. The list itself is
// trim.txt, with a reason a line.
package trim

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed trim.txt
var text string

// Kind is what sort of thing is left out or added.
type Kind string

// The kinds; trim.txt says what becomes of each.
const (
	Kernel    Kind = "kernel"
	Generator Kind = "generator"
	Unit      Kind = "unit"
)

// Item is a line of the list.
type Item struct {
	Kind         Kind
	Name, Reason string
}

// List returns the whole list, in the file's order.
func List() ([]Item, error) {
	var items []Item
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("read trim list: line %d has no reason", n)
		}
		item := Item{Kind(fields[0]), fields[1], strings.Join(fields[2:], " ")}
		switch item.Kind {
		case Kernel, Generator, Unit:
			items = append(items, item)
		default:
			return nil, fmt.Errorf("read trim list: line %d: no such kind: %s", n, item.Kind)
		}
	}
	return items, nil
}

// Masks returns the symbolic links that leave out generators and units: path below
// the guest's /run to target.
func Masks(items []Item) map[string]string {
	links := make(map[string]string)
	for _, i := range items {
		switch i.Kind {
		case Generator:
			links["systemd/system-generators/"+i.Name] = "/dev/null"
		case Unit:
			links["systemd/system/"+i.Name] = "/dev/null"
		}
	}
	return links
}

// KernelArgs returns the arguments for the kernel's command line.
func KernelArgs(items []Item) []string {
	var args []string
	for _, i := range items {
		if i.Kind == Kernel {
			args = append(args, i.Name)
		}
	}
	return args
}
