package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

// JUnit writes the run as JUnit XML: a suite for each package and image, with the tests that
// Count counts. If a run has several images, the names of tests have theirs.
func (r *Run) JUnit(w io.Writer) error {
	type key struct{ pkg, image string }
	suites := make(map[key]*junit.Testsuite)
	began := make(map[key]time.Time)
	took := make(map[key]time.Duration)
	var order []key
	suite := func(k key, guest evidence.Guest) *junit.Testsuite {
		if s := suites[k]; s != nil {
			return s
		}
		s := &junit.Testsuite{Name: inert(k.pkg), Package: inert(k.pkg)}
		if k.image != "" {
			s.Name += " [" + inert(k.image) + "]"
			s.AddProperty("image", inert(k.image))
		}
		if guest.Systemd != "" {
			s.AddProperty("systemd", inert(guest.Systemd))
			s.AddProperty("kernel", inert(guest.Kernel))
			s.AddProperty("accelerator", inert(guest.Accel))
		}
		suites[k] = s
		order = append(order, k)
		return s
	}
	guestOf := r.guestOf()
	for _, p := range r.Broken() {
		s := suite(key{p.Name, ""}, evidence.Guest{})
		s.AddTestcase(junit.Testcase{
			Classname: inert(p.Name), Name: "package", Time: secondsText(p.Took),
			Error: &junit.Result{Message: "the package " + p.State.String(), Data: inert(p.Output.String())},
		})
	}
	many := len(guestOf) > 1
	for _, t := range r.Tests {
		if !t.counts() {
			continue
		}
		k := key{t.Package, t.Image}
		suite(k, guestOf[t.Image]).AddTestcase(t.testcase(many))
		took[k] += t.Took
		if at := began[k]; !t.Began.IsZero() && (at.IsZero() || t.Began.Before(at)) {
			began[k] = t.Began
		}
	}
	slices.SortStableFunc(order, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.image, b.image))
	})
	var all junit.Testsuites
	for i, k := range order {
		s := suites[k]
		s.ID, s.Time = i, secondsText(took[k])
		if at := began[k]; !at.IsZero() {
			s.SetTimestamp(at.UTC())
		}
		all.AddSuite(*s)
	}
	all.Time = secondsText(r.Ended.Sub(r.Began))
	if _, err := io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"); err != nil {
		return err
	}
	return all.WriteXML(w)
}

// guestOf returns a guest of each image.
func (r *Run) guestOf() map[string]evidence.Guest {
	all := make(map[string]evidence.Guest)
	for _, t := range r.Tests {
		for _, m := range t.Machines {
			all[m.Image] = m.Guest
		}
	}
	return all
}

func (t *Test) testcase(many bool) junit.Testcase {
	c := junit.Testcase{Classname: inert(t.Package), Name: inert(t.Name), Time: secondsText(t.Took)}
	if many && t.Image != "" && !slices.Contains(strings.Split(t.Name, "/"), t.Image) {
		c.Name += " [" + inert(t.Image) + "]"
	}
	if t.State == Passed {
		return c
	}
	output := t.Output.String()
	result := &junit.Result{Message: inert(cmp.Or(brief(output), t.State.String())), Data: inert(output)}
	switch t.State {
	case Failed:
		c.Failure = result
	case Unfinished:
		result.Message = "the test has no result"
		c.Error = result
	case Skipped:
		c.Skipped = result
	}
	return c
}

func secondsText(d time.Duration) string { return fmt.Sprintf("%.3f", max(d, 0).Seconds()) }
