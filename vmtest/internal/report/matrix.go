package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

// matrix has the tests of a package by image.
type matrix struct {
	Package string
	Columns []column // those that its tests ran on
	Rows    []*row
	Open    bool // something in it did not pass, or it has guests
}

type row struct {
	Test  string
	Sub   bool // a subtest
	Cells []cell
}

// cell is what the tests of a row did on the image of a column.
type cell struct {
	Ran   bool
	State State
	Took  time.Duration
	Part  int    // of the longest time, in percent
	Runs  int    // how many tests
	Link  string // to the first failure, or ""
}

// column is an image, or none.
type column struct {
	Image   string // "" for tests without a guest
	Systemd string
	Kernel  string
}

// columns returns the images of a run by name, and at the end none if tests have none.
func (r *Run) columns() []column {
	guests := make(map[string]evidence.Guest)
	for _, t := range r.Tests {
		if _, ok := guests[t.Image]; !ok && !t.spread() {
			guests[t.Image] = evidence.Guest{}
		}
		for _, m := range t.Machines {
			guests[m.Image] = m.Guest
		}
	}
	var all []column
	for image, g := range guests {
		all = append(all, column{image, g.Systemd, g.Kernel})
	}
	slices.SortFunc(all, func(a, b column) int {
		if (a.Image == "") != (b.Image == "") {
			return strings.Compare(b.Image, a.Image)
		}
		return cmp.Compare(a.Image, b.Image)
	})
	return all
}

// spread reports whether the subtests of t run it on an image each, so that it is no test
// itself, unless it fails by itself.
func (t *Test) spread() bool {
	return t.Image == "" && !t.ownFailure() && slices.ContainsFunc(t.children, (*Test).isImage) ||
		t.Image != "" && len(t.children) > 0 && t.children[0].isImage() && !t.ownFailure()
}

// isImage reports whether t is the subtest that runs the test around it on an image.
func (t *Test) isImage() bool {
	return t.parent != nil && t.Image != "" && strings.TrimPrefix(t.Name, t.parent.Name+"/") == t.Image
}

// rowName returns the name of t without its image.
func (t *Test) rowName() string {
	if t.Image == "" {
		return t.Name
	}
	parts := strings.Split(t.Name, "/")
	if i := slices.Index(parts[1:], t.Image); i >= 0 {
		parts = slices.Delete(parts, i+1, i+2)
	}
	return strings.Join(parts, "/")
}

// matrices returns the tests by package and image. Subtests are in it if they did not pass.
func (r *Run) matrices(columns []column, links map[*Test]string) []*matrix {
	at := make(map[string]int)
	for i, c := range columns {
		at[c.Image] = i
	}
	packages := make(map[string]*matrix)
	rows := make(map[[2]string]*row)
	longest := time.Duration(1)
	for _, t := range r.Tests {
		name := t.rowName()
		sub := strings.Contains(name, "/")
		if t.spread() || sub && t.State < Unfinished {
			continue
		}
		m := packages[t.Package]
		if m == nil {
			m = &matrix{Package: t.Package}
			packages[t.Package] = m
		}
		line := rows[[2]string{t.Package, name}]
		if line == nil {
			line = &row{Test: name, Sub: sub, Cells: make([]cell, len(columns))}
			rows[[2]string{t.Package, name}] = line
			m.Rows = append(m.Rows, line)
		}
		line.Cells[at[t.Image]].add(t, links)
		longest = max(longest, t.Took)
		m.Open = m.Open || t.State >= Unfinished
	}
	var all []*matrix
	for _, m := range packages {
		for _, line := range m.Rows {
			for i := range line.Cells {
				c := &line.Cells[i]
				c.Part = int(100 * c.Took / longest)
			}
		}
		slices.SortFunc(m.Rows, func(a, b *row) int { return strings.Compare(a.Test, b.Test) })
		m.narrow(columns)
		m.Open = m.Open || m.Columns[0].Image != ""
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *matrix) int { return strings.Compare(a.Package, b.Package) })
	return all
}

// Size returns how many rows m has.
func (m *matrix) Size() string { return plural(len(m.Rows), "row") }

// narrow leaves out the columns without a cell in m.
func (m *matrix) narrow(columns []column) {
	for i := len(columns) - 1; i >= 0; i-- {
		if slices.ContainsFunc(m.Rows, func(r *row) bool { return r.Cells[i].Ran }) {
			m.Columns = append([]column{columns[i]}, m.Columns...)
			continue
		}
		for _, r := range m.Rows {
			r.Cells = slices.Delete(r.Cells, i, i+1)
		}
	}
}

func (c *cell) add(t *Test, links map[*Test]string) {
	if !c.Ran || t.State > c.State {
		c.State, c.Link = t.State, t.link(links)
	}
	c.Ran = true
	c.Runs++
	c.Took = max(c.Took, t.Took)
}

// link returns the link to what is shown of the failure of t or of a subtest of it.
func (t *Test) link(links map[*Test]string) string {
	if link := links[t]; link != "" {
		return link
	}
	for _, c := range t.children {
		if c.State == t.State {
			if link := c.link(links); link != "" {
				return link
			}
		}
	}
	return ""
}

// guests says how the tests of an image got their guests.
type guests struct {
	column
	Accel                string
	Forks, Boots         int
	Median, Longest      time.Duration // from QEMU's start until a test could use a fork
	MedianPart, LongPart int           // of the longest of all, in percent
	Queued               time.Duration // the longest wait for a slot
}

func (r *Run) guests(columns []column) []guests {
	var all []guests
	longest := time.Duration(1)
	for _, c := range columns {
		g := guests{column: c}
		var forks []time.Duration
		for _, t := range r.Tests {
			for _, m := range t.Machines {
				if m.Image != c.Image {
					continue
				}
				g.Accel = m.Accel
				g.Queued = max(g.Queued, seconds(m.Queued))
				if m.Cold {
					g.Boots++
				} else {
					forks = append(forks, seconds(m.Ready))
				}
			}
		}
		if g.Forks = len(forks); g.Forks > 0 {
			slices.Sort(forks)
			g.Median, g.Longest = forks[len(forks)/2], forks[len(forks)-1]
			longest = max(longest, g.Longest)
		}
		if g.Forks+g.Boots > 0 {
			all = append(all, g)
		}
	}
	for i := range all {
		all[i].MedianPart, all[i].LongPart = int(100*all[i].Median/longest), int(100*all[i].Longest/longest)
	}
	return all
}
