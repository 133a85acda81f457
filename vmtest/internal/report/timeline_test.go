package report

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestTimeline(t *testing.T) {
	guest := func(ms int, unit string, bad bool) evidence.Moment {
		return evidence.Moment{At: began.Add(time.Duration(ms) * time.Millisecond), Of: "guest", Text: "text", Unit: unit, Bad: bad}
	}
	p := draw(&evidence.Record{
		Began: began, Ended: began.Add(10 * time.Second),
		Steps: []evidence.Step{
			{Began: began.Add(time.Second), Took: 2 * time.Second, Text: "Unit.Start"},
			{Began: began.Add(9 * time.Second), Took: 5 * time.Second, Text: "$ false", Result: "exit status 1"},
		},
		Moments: []evidence.Moment{
			{At: began, Of: "test", Text: "Unit.Start"}, guest(1000, "", false), guest(1001, "", false), guest(1002, "", true),
			{At: began.Add(4 * time.Second), Of: "unit", Unit: "a.service", Text: "inactive"},
			{At: began.Add(4 * time.Second), Of: "unit", Unit: "a.service", Text: "active"},
			guest(5000, "a.service", true), guest(-5, "a.service", false), guest(3600_000, "a.service", false),
		},
	})
	const wide = laneRight - laneLeft
	assert.Equal(t, []bar{
		{X: laneLeft + wide/10.0, Width: wide / 5.0, Row: stepsTop, Title: "Unit.Start (2.000 s)"},
		{X: laneLeft + wide*0.9, Width: wide / 10.0, Row: stepsTop, Failed: true, Title: "$ false (5.000 s): exit status 1"},
	}, p.Steps, "no step is longer than the test")
	require.Len(t, p.Lanes, 2)
	assert.Equal(t, "no unit", p.Lanes[0].Name)
	assert.Equal(t, []mark{
		{X: laneLeft + wide/10.0, Kind: "line", Count: 2, Title: "text"}, {X: p.Lanes[0].Marks[1].X, Kind: "bad", Count: 1, Title: "text"},
	}, p.Lanes[0].Marks, "lines of about the same time share a mark, but not with errors")
	assert.Contains(t, p.Lanes[1].Marks, mark{X: laneLeft + wide*0.4, Kind: "change", Count: 2, Title: "inactive; active"}, "changes of the unit")
	assert.Equal(t, 6, p.Lines)
	assert.Equal(t, 2, p.Changes)
	assert.Equal(t, 2, p.Bad)
	assert.Equal(t, 2, p.Off, "lines outside the test")
	assert.Equal(t, 1, p.Failed)
}

// Of many units, those with errors and with the most lines have lanes.
func TestLanesAreBounded(t *testing.T) {
	r := &evidence.Record{Began: began, Ended: began.Add(time.Second)}
	for i := range 30 {
		for range i + 1 {
			r.Moments = append(r.Moments, evidence.Moment{At: began, Of: "guest", Unit: fmt.Sprintf("u%d.service", i)})
		}
	}
	r.Moments = append(r.Moments, evidence.Moment{At: began, Of: "guest", Unit: "bad.service", Bad: true})
	p := draw(r)
	require.Len(t, p.Lanes, lanesMax)
	assert.Equal(t, "u22.service", p.Lanes[0].Name)
	assert.Equal(t, "bad.service", p.Lanes[lanesMax-2].Name)
	assert.Equal(t, "other units", p.Lanes[lanesMax-1].Name)
}

func TestAxis(t *testing.T) {
	for took, want := range map[time.Duration]string{
		3 * time.Second: "0 s 0.5 s 1 s 1.5 s 2 s 2.5 s 3 s", 20 * time.Millisecond: "0 s 0.005 s 0.01 s 0.015 s 0.02 s",
		time.Hour: "0 s 500 s 1000 s 1500 s 2000 s 2500 s 3000 s 3500 s", time.Millisecond: "0 s 0.0002 s 0.0004 s 0.0006 s 0.0008 s 0.001 s",
	} {
		got := ""
		for _, l := range axis(took) {
			got += " " + l.Text
		}
		assert.Equal(t, " "+want, got)
	}
}
