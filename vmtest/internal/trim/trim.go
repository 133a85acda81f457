// Package trim lists what a guest does without by default. The list is trim.txt,
// with a reason on each line.
package trim

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed trim.txt
var text string

// Kind says how an item of the list takes effect.
type Kind string

// The kinds; trim.txt describes the effect of each.
const (
	Device    Kind = "device"
	Kernel    Kind = "kernel"
	Generator Kind = "generator"
	Journald  Kind = "journald"
	Unit      Kind = "unit"
)

// Item is a line of the list.
type Item struct {
	Kind         Kind
	Name, Reason string

	// Unless are inputs of a generator or a dependency, which is masked only if none of
	// them exists: patterns of absolute paths, first letters of kernel arguments, and
	// initScripts.
	Unless []string
}

// List returns the whole list in the order of the file.
func List() ([]Item, error) {
	var items []Item
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		item, err := parse(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("read trim list: line %d: %w", n, err)
		}
		items = append(items, item)
	}
	return items, nil
}

func parse(fields []string) (Item, error) {
	item := Item{Kind: Kind(fields[0])}
	switch item.Kind {
	case Device, Kernel, Generator, Journald, Unit:
	default:
		return Item{}, fmt.Errorf("no such kind: %s", item.Kind)
	}
	if len(fields) > 1 {
		item.Name, fields = fields[1], fields[2:]
	}
	if len(fields) > 0 && (item.Kind == Generator || item.Kind == Unit) {
		if inputs, ok := strings.CutPrefix(fields[0], "unless="); ok {
			item.Unless, fields = strings.Split(inputs, ","), fields[1:]
		}
	}
	if item.Kind == Unit && len(item.Unless) > 0 && !strings.Contains(item.Name, ".wants/") {
		return Item{}, fmt.Errorf("%s has inputs and is not a dependency, TARGET.wants/UNIT", item.Name)
	}
	if item.Reason = strings.Join(fields, " "); item.Name == "" || item.Reason == "" {
		return Item{}, fmt.Errorf("%s %s has no reason", item.Kind, item.Name)
	}
	return item, nil
}

// Masks returns the symbolic links that mask items: path below the guest's /run to
// target.
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

// Files returns the files that put items into effect, scripts among them: path below
// the guest's /run to content.
func Files(items []Item) map[string]string {
	files := make(map[string]string)
	if s := script("", items); s != "" {
		files["systemd/system-generators/vmtest-on-demand"] = s
	}
	var settings, rules strings.Builder
	for _, i := range items {
		switch i.Kind {
		case Device:
			fmt.Fprintf(&rules, "KERNEL==%q, ENV{SYSTEMD_READY}=\"0\"\n", i.Name)
		case Journald:
			fmt.Fprintln(&settings, i.Name)
		}
	}
	if rules.Len() > 0 {
		files["udev/rules.d/99-vmtest.rules"] = rules.String()
	}
	if settings.Len() > 0 {
		files["systemd/journald.conf.d/vmtest.conf"] = "[Journal]\n" + settings.String()
	}
	return files
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
