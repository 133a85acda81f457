package lack

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// recorder is a test that writes down how it ended.
type recorder struct{ ended []string }

func (r *recorder) Helper()           {}
func (r *recorder) Skip(args ...any)  { r.ended = append(r.ended, "skip: "+fmt.Sprint(args...)) }
func (r *recorder) Fatal(args ...any) { r.ended = append(r.ended, "fatal: "+fmt.Sprint(args...)) }

func TestSkip(t *testing.T) {
	t.Setenv("VMTEST_REQUIRE", "")
	var skipped recorder
	Skip(&skipped, "no tool: install it")
	assert.Equal(t, []string{"skip: no tool: install it"}, skipped.ended)

	t.Setenv("VMTEST_REQUIRE", "1")
	var failed recorder
	Skip(&failed, "no tool: install it")
	assert.Equal(t, "fatal: no tool: install it (VMTEST_REQUIRE=1 allows no skip)", failed.ended[0])
}
