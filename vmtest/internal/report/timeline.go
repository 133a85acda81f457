package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

// picture is a timeline: a lane for the steps of the test, and one for each unit that the
// guest's journal is about. Its lengths are in the units of an SVG's viewBox.
type picture struct {
	Width, Height int
	Bottom        int // of the lanes
	Steps         []bar
	Lanes         []lane
	Axis          []label
	Lines, Bad    int // how many lines of the journal it has
	Changes       int // of the states of units
	Off           int // how many have times before the machine began or after the test ended
	Omitted       int // how many moments come before those that the record has
	Failed        int // steps
	Took          time.Duration
}

type bar struct {
	X, Width float64
	Row      int // where its lane begins
	Failed   bool
	Title    string
}

type lane struct {
	Y     int
	Name  string
	Full  string
	Marks []mark
}

// mark is one or more lines of the journal, or changes of a unit, at about the same time.
type mark struct {
	X     float64
	Kind  string // "line", "bad" for lines of errors, or "change"
	Count int
	Title string // the first; all changes
}

type label struct {
	X    float64
	Text string
}

const (
	pictureWidth = 1000
	laneLeft     = 220
	laneRight    = 985
	stepsTop     = 12
	stepsHigh    = 34
	laneHigh     = 30
	lanesMax     = 10 // the units with the most lines; the others share the last
	nameMax      = 28 // characters of a unit's name
	near         = 4  // marks that are closer become one
)

// draw returns the timeline of a record.
func draw(r *evidence.Record) *picture {
	p := &picture{Width: pictureWidth, Took: max(r.Ended.Sub(r.Began), time.Millisecond), Omitted: r.Omitted}
	x := func(t time.Time) float64 {
		part := float64(t.Sub(r.Began)) / float64(p.Took)
		return round(laneLeft + (laneRight-laneLeft)*min(max(part, 0), 1))
	}
	for _, s := range r.Steps {
		b := bar{X: x(s.Began), Row: stepsTop, Failed: s.Result != "", Title: tail.Head(s.Line(), 200)}
		b.Width = max(2, round(x(s.Began.Add(s.Took))-b.X))
		if b.Failed {
			p.Failed++
		}
		p.Steps = append(p.Steps, b)
	}
	p.Steps = p.Steps[max(0, len(p.Steps)-stepsMax):]
	units := unitsOf(r.Moments)
	y := stepsTop + stepsHigh + laneHigh/2
	at := make(map[string]int)
	for _, name := range units {
		at[name] = len(p.Lanes)
		p.Lanes = append(p.Lanes, lane{Y: y, Name: shortName(name), Full: name})
		y += laneHigh
	}
	for _, m := range r.Moments {
		if m.Of == "test" {
			continue
		}
		if m.At.Before(r.Began) || m.At.After(r.Ended) {
			p.Off++
		}
		i, ok := at[cmp.Or(m.Unit, noUnit)]
		if !ok {
			i = at[others]
		}
		p.Lanes[i].add(mark{X: x(m.At), Kind: p.count(m), Count: 1, Title: tail.Head(m.Text, 200)})
	}
	p.Bottom = y - laneHigh/2 + 4
	p.Height = p.Bottom + 24
	p.Axis = axis(p.Took)
	return p
}

// count counts a moment of the guest, and returns the kind of its mark.
func (p *picture) count(m evidence.Moment) string {
	if m.Of == "unit" {
		p.Changes++
		return "change"
	}
	p.Lines++
	if m.Bad {
		p.Bad++
		return "bad"
	}
	return "line"
}

// size returns about how many bytes of a page the picture takes.
func (p *picture) size() int {
	n := 4 << 10
	for _, b := range p.Steps {
		n += len(b.Title) + 200
	}
	for _, l := range p.Lanes {
		for _, m := range l.Marks {
			n += len(m.Title) + 200
		}
	}
	return n
}

// The lanes of lines that are about no unit, and about units without a lane of their own.
const (
	noUnit = "no unit"
	others = "other units"
)

// unitsOf returns the names of the lanes, by the time of their first line.
func unitsOf(moments []evidence.Moment) []string {
	lines := make(map[string]int)
	var names []string
	for _, m := range moments {
		if m.Of == "test" {
			continue
		}
		name := cmp.Or(m.Unit, noUnit)
		if lines[name] == 0 {
			names = append(names, name)
		}
		lines[name]++
		if m.Bad {
			lines[name] += 1000 // its lane is kept
		}
	}
	if len(names) <= lanesMax {
		return names
	}
	byLines := slices.Clone(names)
	slices.SortStableFunc(byLines, func(a, b string) int { return lines[b] - lines[a] })
	kept := byLines[:lanesMax-1]
	names = slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(kept, n) })
	return append(names, others)
}

// add adds a mark in the order of times. Marks that are near and of the same kind become one.
func (l *lane) add(m mark) {
	for i := len(l.Marks) - 1; i >= 0 && m.X-l.Marks[i].X < near; i-- {
		if last := &l.Marks[i]; last.Kind == m.Kind {
			last.Count++
			if m.Kind == "change" && len(last.Title) < 400 {
				last.Title += "; " + m.Title
			}
			return
		}
	}
	l.Marks = append(l.Marks, m)
}

// axis returns the labels of some four to eight times.
func axis(took time.Duration) []label {
	step := math.Pow(10, math.Floor(math.Log10(took.Seconds()/4)))
	for _, f := range []float64{5, 2} {
		if took.Seconds()/(step*f) >= 4 {
			step *= f
			break
		}
	}
	var all []label
	for i := 0; float64(i)*step <= took.Seconds()*1.0001 && i < 20; i++ {
		s := float64(i) * step
		all = append(all, label{round(laneLeft + (laneRight-laneLeft)*s/took.Seconds()), strconv.FormatFloat(math.Round(s*1e6)/1e6, 'f', -1, 64) + " s"})
	}
	return all
}

func shortName(name string) string {
	if r := []rune(name); len(r) > nameMax {
		return string(r[:nameMax-1]) + "…"
	}
	return name
}

func round(x float64) float64 { return math.Round(x*10) / 10 }
