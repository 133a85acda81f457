package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"brief": briefly,
	"clock": func(t time.Time) string { return t.UTC().Format("15:04:05.000") },
	"add":   func(a, b int) int { return a + b },
}).Parse(pageText))

// page is what the template of the page shows.
type page struct {
	Style    template.CSS
	Run      *Run
	Verdict  string
	State    State
	Counts   []count
	Took     time.Duration
	Failures []failure
	More     int // failures that are not shown
	Matrices []*matrix
	Guests   []guests
	Slowest  []slow
	Skipped  []skip
	SkipMore int
}

type count struct {
	State State
	Tests int
}

type slow struct {
	Test, Image string
	Took        time.Duration
	Part        int // of the slowest, in percent
}

type skip struct{ Test, Image, Reason string }

// The most tests that are listed as slow and as skipped.
const (
	slowMax = 15
	skipMax = 500
)

// HTML writes the run as one page that needs no other file and no script. What tests and
// guests wrote is text in it and nothing else.
func (r *Run) HTML(w io.Writer) error {
	p := &page{Style: template.CSS(pageStyle), Run: r, Took: r.Ended.Sub(r.Began), State: Passed}
	var links map[*Test]string
	p.Failures, p.More, links = r.failures()
	columns := r.columns()
	p.Matrices = r.matrices(columns, links)
	p.Guests = r.guests(columns)
	for _, s := range []State{Failed, Unfinished, Passed, Skipped} {
		if n := r.Count(s); n > 0 || s == Failed || s == Passed {
			p.Counts = append(p.Counts, count{s, n})
		}
	}
	if r.Failed() {
		p.State = Failed
	}
	p.Verdict = r.Verdict()
	p.slowest()
	p.skipped()
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return fmt.Errorf("write HTML: %w", err)
	}
	_, err := io.WriteString(w, inert(b.String()))
	return err
}

// Verdict returns the result of the run in a line.
func (r *Run) Verdict() string {
	failed, none, broken := r.Count(Failed), r.Count(Unfinished), len(r.Broken())
	switch all := failed + none + r.Count(Passed); {
	case failed > 0:
		return fmt.Sprintf("%d of %s failed", failed, plural(all, "test"))
	case none > 0:
		return fmt.Sprintf("%d of %s without a result", none, plural(all, "test"))
	case broken > 0:
		return plural(broken, "package") + " failed"
	case all == 0:
		return "No test ran"
	case all == 1:
		return "1 test passed"
	default:
		return fmt.Sprintf("All %d tests passed", all)
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (p *page) slowest() {
	var tests []*Test
	for _, t := range p.Run.Tests {
		if t.counts() && t.State != Skipped && t.Took >= 100*time.Millisecond {
			tests = append(tests, t)
		}
	}
	slices.SortStableFunc(tests, func(a, b *Test) int { return int(b.Took/time.Millisecond - a.Took/time.Millisecond) })
	for _, t := range tests[:min(len(tests), slowMax)] {
		p.Slowest = append(p.Slowest, slow{t.rowName(), t.Image, t.Took, int(100 * t.Took / tests[0].Took)})
	}
}

func (p *page) skipped() {
	for _, t := range p.Run.Tests {
		if t.State != Skipped || !t.counts() {
			continue
		}
		if len(p.Skipped) == skipMax {
			p.SkipMore++
			continue
		}
		p.Skipped = append(p.Skipped, skip{t.rowName(), t.Image, brief(t.Output.String())})
	}
}

// briefly returns a time for a person.
func briefly(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
}
