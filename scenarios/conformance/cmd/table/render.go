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

Versions between those of two columns were not run. "Since" is the version that the manual page
or NEWS names; an empty one is older than all columns.
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
	b.WriteString(intro)
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
