package journal

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// torn returns an entry that is dropped because not all of its fields arrived.
func torn(n int) string { return strings.Replace(export(stamped(n)...), c(n), c(n)+";x=1", 1) }

func write(t *testing.T, w io.Writer, entries ...string) {
	t.Helper()
	_, err := io.WriteString(w, strings.Join(entries, ""))
	require.NoError(t, err)
}

// The entries of a gap stand in their order if the entries after several gaps were dropped.
func TestGapsBeforeDroppedEntries(t *testing.T) {
	s := of(t, 1, 2)
	write(t, s, torn(5), torn(9))
	put(t, s, 12)
	fillWith(t, s, 3, 4, 6, 7, 8, 10, 11)
	assert.Equal(t, "m1 m2 m3 m4 m6 m7 m8 m10 m11 m12", all(t, s))
	assert.Len(t, s.Losses(0), 2, "the entries that were dropped")
}
