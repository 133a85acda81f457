package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
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
// version.
type known struct {
	before int
	value  any
}

// before is what is seen on a systemd older than version.
func before(version int, value any) known { return known{version, value} }

// is asserts that what was seen is what the row claims. On the versions of a known
// difference, which come oldest first, it must be that one instead, and the row differs
// there.
func (g *guest) is(what string, seen, claimed any, differences ...known) {
	g.t.Helper()
	want := claimed
	for _, k := range slices.Backward(differences) { // of several the oldest that applies
		if g.Machine.Image().SystemdMajor < k.before {
			want = k.value
		}
	}
	if assert.Equal(g.t, want, seen, what) && !reflect.DeepEqual(want, claimed) {
		if seen == "" {
			seen = "nothing"
		}
		g.differs = append(g.differs, fmt.Sprintf("%s: %v", what, seen))
	}
}

// Each directory of testdata is of a row.
func TestUnitsAreUsed(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	var source strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		source.Write(data)
	}
	dirs, err := os.ReadDir("testdata")
	require.NoError(t, err)
	for _, dir := range dirs {
		used := strings.Contains(source.String(), `ID: "`+dir.Name()+`"`)
		assert.True(t, used, "no row has the units in testdata/%s", dir.Name())
	}
}
