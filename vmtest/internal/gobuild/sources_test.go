package gobuild

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSources(t *testing.T) {
	files, err := sources(t.Context(), agentPackage, runtime.GOARCH)
	require.NoError(t, err)
	for _, want := range []string{"../../cmd/agent/main.go", "../agent/server.go"} {
		want, err := filepath.Abs(want)
		require.NoError(t, err)
		assert.Contains(t, files, want)
	}
	assert.False(t, slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, "/src/fmt/print.go") }),
		"files of the standard library")

	_, err = sources(t.Context(), "./none", runtime.GOARCH)
	assert.ErrorContains(t, err, "list sources of ./none: ")
}
