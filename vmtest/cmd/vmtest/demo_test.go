package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The demo has the guide's units with it, as the scenarios test them.
func TestGuideUnits(t *testing.T) {
	tested, err := readGuideUnits(os.DirFS("../../../scenarios/testdata/guide"), "scenarios")
	require.NoError(t, err)
	dir, name := demo{}.directory()
	own, err := readGuideUnits(dir, name)
	require.NoError(t, err)
	for unit, data := range tested {
		assert.Equal(t, string(data), string(own[unit]), "%s: copy scenarios/testdata/guide to vmtest/cmd/vmtest/guide", unit)
	}
	_, err = readGuideUnits(os.DirFS(t.TempDir()), "DIR")
	assert.ErrorContains(t, err, " in DIR")
}
