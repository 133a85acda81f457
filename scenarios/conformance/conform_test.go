package conformance

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
	"example.org/systemd-vmtest/vmtest"
)

// conform runs the scenario of a row on each image, on a guest with the probe and the
// units in testdata/ID. It reports what the scenario saw as an attribute of the test. A
// systemd older than row.Since does not run it.
func conform(t *testing.T, r row.Row, scenario func(*guest)) {
	t.Helper()
	t.Parallel()
	_, file, _, _ := runtime.Caller(1)
	vmtest.EachImage(t, func(t *testing.T) {
		g := &guest{Guest: prepared.Start(t), t: t, row: r}
		image := g.Machine.Image()
		cell := row.Cell{
			Row: r, Test: filepath.Base(file) + ":" + strings.Split(t.Name(), "/")[0],
			Image: image.Name, Systemd: image.SystemdMajor, Absent: image.SystemdMajor < r.Since,
		}
		if !cell.Absent {
			g.copyUnits()
			scenario(g)
			cell.Differs = g.differs
		}
		if t.Failed() {
			return // a row that failed is in no table
		}
		data, err := json.Marshal(cell)
		require.NoError(t, err)
		t.Attr(row.Key, string(data))
		g.NeedSystemd(t, r.Since, "row "+r.ID)
	})
}

// known is a value that is seen instead of what a row claims, on a systemd older than a
// version, with the cause that the table gives.
type known struct {
	before int
	value  any
	cause  string
}

// before is what is seen on a systemd older than version.
func before(version int, value any) known {
	return known{before: version, value: value, cause: fmt.Sprint("before ", version)}
}

// when is what is seen in a guest that has a property of its own, which because names.
func when(has bool, value any) known {
	k := known{value: value}
	if has {
		k.before = math.MaxInt
	}
	return k
}

// because has the cause of a difference that is not systemd's version, but the kernel of its
// image or how it was built.
func (k known) because(cause string) known {
	k.cause = cause
	return k
}

// is asserts that what was seen is what the row claims. On the versions of a known
// difference, which come oldest first, it must be that one instead, and the row differs
// there.
func (g *guest) is(what string, seen, claimed any, differences ...known) {
	g.t.Helper()
	want, cause := claimed, ""
	for _, k := range slices.Backward(differences) { // of several the oldest that applies
		if g.Machine.Image().SystemdMajor < k.before {
			want, cause = k.value, k.cause
		}
	}
	if assert.Equal(g.t, want, seen, what) && !reflect.DeepEqual(want, claimed) {
		if seen == "" {
			seen = "nothing"
		}
		g.differs = append(g.differs, fmt.Sprintf("%s: %v (%s)", what, seen, cause))
	}
}

// rows are the tests of this package, FILE:FUNCTION, by the ID of their row.
func rows(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	tests := make(map[string]string)
	row := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\) {\n\tconform\(t, row\.Row{\n\t\tID: "([^"]+)"`)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range row.FindAllStringSubmatch(string(data), -1) {
			assert.Empty(t, tests[found[2]], "row %s is of two tests", found[2])
			tests[found[2]] = file + ":" + found[1]
		}
	}
	return tests
}

// Each directory of testdata is of a row.
func TestUnitsAreUsed(t *testing.T) {
	tests := rows(t)
	dirs, err := os.ReadDir("testdata")
	require.NoError(t, err)
	for _, dir := range dirs {
		assert.NotEmpty(t, tests[dir.Name()], "no row has the units in testdata/%s", dir.Name())
	}
}

// The committed table names the test of each row where it is. What the test saw, a run
// compares (make matrix).
func TestTableNamesTheTests(t *testing.T) {
	table, err := os.ReadFile("../CONFORMANCE.md")
	require.NoError(t, err)
	named := make(map[string]string)
	for _, found := range regexp.MustCompile(`(?m)^\| ([^ ,]+), \[(\w+)\]\(conformance/([^)]+)\) \|`).FindAllStringSubmatch(string(table), -1) {
		named[found[1]] = found[3] + ":" + found[2]
	}
	tests := rows(t)
	for id, test := range tests {
		assert.Equal(t, test, named[id], "test of row %s in CONFORMANCE.md: run make conformance", id)
	}
	for id := range named {
		assert.NotEmpty(t, tests[id], "row %s of CONFORMANCE.md has no test: run make conformance", id)
	}
}
