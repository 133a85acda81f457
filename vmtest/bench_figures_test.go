package vmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
)

// figures are the medians of this run, in the order in which they were measured.
type figures struct {
	list []figure
}

type figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Target float64 `json:"target,omitempty"` // the bound of Value, if not 0
	Least  bool    `json:"least,omitempty"`  // Target is a lower bound
}

// targets are those of some figures, on a host that does nothing else. Nothing enforces them,
// because a single run on a busy host may miss one.
var targets = map[string]float64{
	"state_per_systemctl_show":              0.25,
	"property_per_systemctl_show":           0.25,
	"show_per_systemctl_show":               0.25,
	"journal_per_journalctl":                0.25,
	"fork_to_typed_answer_per_bare_restore": 2.5,
	"wait_after_signal_ms":                  20,
	"wait_property_after_signal_ms":         20,
	"wait_instances_after_signal_ms":        20,
	"guide_typed_per_commands":              0.75,
	"guide_typed_fork_per_peer":             1,
	"network_fork_per_fork":                 1.25,
	"network_first_byte_per_fork":           3,
	"network_tcp_per_qemu_netdev":           0.8,
}

// least are the figures whose target is a lower bound.
var least = []string{"network_tcp_per_qemu_netdev"}

var measured figures

// TestMain prints the figures as a table, and writes them to the file that $VMTEST_BENCH_JSON
// names.
func TestMain(m *testing.M) {
	code := m.Run()
	measured.print(os.Stdout)
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
	measured.list = append(measured.list, figure{name, value, unit, targets[name], slices.Contains(least, name)})
}

// print writes a line for each figure.
func (f figures) print(w io.Writer) {
	if len(f.list) == 0 {
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "figure\tvalue\tunit\ttarget\t")
	for _, x := range f.list {
		target, verdict := "", ""
		if x.Target != 0 {
			target, verdict = fmt.Sprint(x.Target), "met"
			if x.Least {
				target = "at least " + target
			}
			if x.Value != x.Target && x.Value > x.Target != x.Least {
				verdict = "missed"
			}
		}
		fmt.Fprintf(table, "%s\t%.4g\t%s\t%s\t%s\n", x.Name, x.Value, x.Unit, target, verdict)
	}
	table.Flush()
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

func TestFigures(t *testing.T) {
	var text strings.Builder
	figures{[]figure{
		{"a_s", 1.23456, "s", 0, false}, {"b_ratio", 0.2, "ratio", 0.25, false}, {"c_ratio", 0.3, "ratio", 0.25, false},
		{"d_ratio", 0.8, "ratio", 0.8, true}, {"e_ratio", 0.79, "ratio", 0.8, true},
	}}.print(&text)
	assert.Equal(t, `
figure   value  unit   target        
a_s      1.235  s                    
b_ratio  0.2    ratio  0.25          met
c_ratio  0.3    ratio  0.25          missed
d_ratio  0.8    ratio  at least 0.8  met
e_ratio  0.79   ratio  at least 0.8  missed
`, "\n"+text.String())
	text.Reset()
	figures{}.print(&text)
	assert.Empty(t, text.String())
}
