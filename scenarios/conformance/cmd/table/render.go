package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

const intro = `# Socket activation by version of systemd

Written by ` + "`make conformance`" + ` from a run of [scenarios/conformance](conformance). A row is a
behaviour, and the test that shows it. A column is an image with its version of systemd.

- **holds**: the version does what the row says.
- **differs**: the test saw something else, which stands there. In parentheses is the oldest
  version known to do what the row says, or what else of the image makes the difference.
- **-**: the version is older than the behaviour.

Since is the version in which the manual page or NEWS says the setting appeared. If it is
empty, the setting exists in all columns, but may behave differently; then the cell says how.
Versions between those of two columns were not run. This runs one row, that of TestBoot:

    VMTEST_IMAGE=debian-11,debian-14 go test -run '^TestBoot$' ./scenarios/conformance
`

// manual is where the manual pages of systemd are.
const manual = "https://www.freedesktop.org/software/systemd/man/latest/"

// issue is where its issues are.
const issue = "https://github.com/systemd/systemd/issues/"

// render returns the table. Each row must have a cell for each image.
func render(cells []row.Cell) (string, error) {
	images := make(map[string]int) // with the version of systemd
	rows := make(map[string]map[string]row.Cell)
	for _, c := range cells {
		images[c.Image] = c.Systemd
		if rows[c.ID] == nil {
			rows[c.ID] = make(map[string]row.Cell)
		}
		if other, twice := rows[c.ID][c.Image]; twice {
			return "", fmt.Errorf("row %s is of two tests, %s and %s: rename one", c.ID, other.Test, c.Test)
		}
		rows[c.ID][c.Image] = c
	}
	columns := slices.SortedFunc(maps.Keys(images), func(a, b string) int {
		return cmp.Or(cmp.Compare(images[a], images[b]), strings.Compare(a, b))
	})
	topics := make(map[string][]string) // topic to IDs
	for id, row := range rows {
		for _, image := range columns {
			if _, ok := row[image]; !ok {
				return "", fmt.Errorf("row %s was not seen on %s", id, image)
			}
		}
		topic, _, _ := strings.Cut(row[columns[0]].Test, "_test.go")
		topics[topic] = append(topics[topic], id)
	}

	var b strings.Builder
	b.WriteString(intro + summary(rows, columns))
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		fmt.Fprintf(&b, "\n## %s\n\n| row | behaviour | since |", topic)
		for _, image := range columns {
			fmt.Fprintf(&b, " %d<br>%s |", images[image], image)
		}
		b.WriteString(" see |\n|" + strings.Repeat(" --- |", 4+len(columns)) + "\n")
		for _, id := range slices.Sorted(slices.Values(topics[topic])) {
			first := rows[id][columns[0]]
			since := ""
			if first.Since > 0 {
				since = fmt.Sprint(first.Since)
			}
			file, function, _ := strings.Cut(first.Test, ":")
			fmt.Fprintf(&b, "| %s, [%s](conformance/%s) | %s | %s |", id, function, file, text(first.Claim), since)
			for _, image := range columns {
				fmt.Fprintf(&b, " %s |", verdict(rows[id][image]))
			}
			fmt.Fprintf(&b, " %s |\n", link(first.See))
		}
	}
	return b.String(), nil
}

// summary returns the rows that differ, and those that a version is too old for, by column.
func summary(rows map[string]map[string]row.Cell, columns []string) string {
	text := "\n## What differs\n\n| image | differs | too old for |\n| --- | --- | --- |\n"
	for _, image := range columns {
		var differs, absent []string
		version := 0
		for _, id := range slices.Sorted(maps.Keys(rows)) {
			cell := rows[id][image]
			version = cell.Systemd
			switch {
			case cell.Absent:
				absent = append(absent, id)
			case len(cell.Differs) > 0:
				differs = append(differs, id)
			}
		}
		text += fmt.Sprintf("| %d, %s | %s | %s |\n", version, image, strings.Join(differs, ", "), strings.Join(absent, ", "))
	}
	return text
}

// verdict returns the text of a cell.
func verdict(c row.Cell) string {
	switch {
	case c.Absent:
		return "-"
	case len(c.Differs) == 0:
		return "holds"
	}
	return "differs: " + text(strings.Join(c.Differs, "; "))
}

// text returns a text for a cell of a table in Markdown.
func text(s string) string {
	return strings.NewReplacer("\n", "; ", "|", `\|`, "<", "&lt;", "*", `\*`).Replace(tail.Printable(s))
}

// link returns a link to a manual page, given as "PAGE(SECTION) DIRECTIVE", or to an issue,
// given as "#NUMBER".
func link(see string) string {
	if number, ok := strings.CutPrefix(see, "#"); ok {
		return fmt.Sprintf("[%s](%s%s)", see, issue, number)
	}
	page, directive, _ := strings.Cut(see, " ")
	name, _, _ := strings.Cut(page, "(")
	target := manual + name + ".html"
	if directive != "" {
		target += "#" + url.PathEscape(directive)
	}
	return fmt.Sprintf("[%s](%s)", text(see), target)
}
