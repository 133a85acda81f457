package vmtest

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDropInNames(t *testing.T) {
	u := (&Machine{announced: new(announced)}).Unit("a.service") // nothing is asked of it
	for _, name := range []string{"", "a", ".conf", "-x.conf", "../a.conf", "a/b.conf", "a\x00.conf", strings.Repeat("a", 300) + ".conf"} {
		assert.ErrorContains(t, u.WriteDropIn(t.Context(), name, ""), "is not the name of a drop-in, such as 10-limits.conf")
		assert.ErrorContains(t, u.RemoveDropIn(t.Context(), name), "is not the name of a drop-in, such as 10-limits.conf")
	}
	for _, text := range []string{"[Unit]\nDescription=a\x00b\n", "[Unit]\nDescription=" + strings.Repeat("x", longestLine)} {
		assert.ErrorIs(t, u.WriteDropIn(t.Context(), "a.conf", text), fs.ErrInvalid)
	}
	assert.NoError(t, checkUnitText("[Unit]\n"+strings.Repeat("x", longestLine-1)+"\n"))
	for _, unit := range []string{"a", "../a.service", "a\x00.service", strings.Repeat("a", 300) + ".service"} {
		err := (&Machine{announced: new(announced)}).Unit(unit).WriteDropIn(t.Context(), "a.conf", "")
		var bad *UnitNameError
		if assert.ErrorAs(t, err, &bad) {
			assert.Equal(t, unit, bad.Name)
		}
	}
}
