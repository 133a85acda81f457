package journal

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each gap keeps a cursor, so a guest cannot make cursors large.
func TestLongCursor(t *testing.T) {
	s := of(t, 1)
	write(t, s, strings.Replace(export(stamped(2)...), c(2), c(2)+";x="+strings.Repeat("0", 1<<20), 1))
	assert.Equal(t, 1, s.Len())
	require.Len(t, s.Losses(0), 1)
	assert.Contains(t, s.Losses(0)[0], "an entry was dropped: no place in the cursor")
	assert.Less(t, len(s.Losses(0)[0]), 2*maxCursor)
}
