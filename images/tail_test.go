package images

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTailIsBounded(t *testing.T) {
	var end tail
	for range 1000 {
		_, err := end.Write([]byte(strings.Repeat("x", 50) + "\n"))
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, len(end.String()), tailSize)
	assert.True(t, strings.HasPrefix(end.String(), strings.Repeat("x", 50)+"\n"))
}
