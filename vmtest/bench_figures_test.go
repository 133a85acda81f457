package vmtest

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// figures are the medians of this run, in the order in which they were measured.
type figures struct {
	list []figure
}

type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

var measured figures

// TestMain writes the figures to the file that $VMTEST_BENCH_JSON names.
func TestMain(m *testing.M) {
	code := m.Run()
	if path := os.Getenv("VMTEST_BENCH_JSON"); path != "" && len(measured.list) > 0 {
		data, err := json.MarshalIndent(measured.list, "", "  ")
		if err == nil {
			err = os.WriteFile(path, append(data, '\n'), 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// report reports a figure as a metric of b, and keeps it.
func report(b *testing.B, name string, value float64, unit string) {
	b.Helper()
	b.ReportMetric(0, "ns/op") // 0 omits it
	b.ReportMetric(value, name)
	measured.list = append(measured.list, figure{name, value, unit})
}

// get returns the figure with the given name, which must have been measured.
func (f figures) get(b *testing.B, name string) float64 {
	b.Helper()
	for _, x := range f.list {
		if x.Name == name {
			return x.Value
		}
	}
	b.Fatalf("%s was not measured in this run", name)
	return 0
}

func median(samples []float64) float64 {
	s := slices.Sorted(slices.Values(samples))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// sample calls f n times, and returns the median of its durations in seconds.
func sample(n int, f func()) float64 {
	var all []float64
	for range n {
		begin := time.Now()
		f()
		all = append(all, time.Since(begin).Seconds())
	}
	return median(all)
}
