package vmtest

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDocumentedVariables checks that the package comment lists every variable that the
// module reads, and that of package scenarios what only the module's tests read.
func TestDocumentedVariables(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	scenarios, err := os.ReadFile("../scenarios/doc.go")
	require.NoError(t, err)
	read := regexp.MustCompile(`os\.(?:Getenv|LookupEnv)\("(VMTEST_\w+)"\)`)
	module := os.DirFS("..")
	found := 0
	for _, dir := range []string{"images", "internal", "vmtest"} {
		require.NoError(t, fs.WalkDir(module, dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := fs.ReadFile(module, path)
			where, documented := "doc.go", doc
			if strings.HasPrefix(path, "internal/lack/") { // which only tests of this module import
				where, documented = "scenarios/doc.go", scenarios
			}
			for _, match := range read.FindAllSubmatch(text, -1) {
				found++
				assert.Contains(t, string(documented), "\n//\t"+string(match[1]), "%s reads a variable that %s lacks", path, where)
			}
			return err
		}))
	}
	assert.Greater(t, found, 8)
}

// TestFilesAreShort checks that no file of the module is longer than one concept needs.
func TestFilesAreShort(t *testing.T) {
	const most = 300 // lines
	module := os.DirFS("..")
	for _, dir := range []string{"echo", "images", "internal", "scenarios", "vmtest"} {
		err := fs.WalkDir(module, dir, func(path string, _ fs.DirEntry, err error) error {
			if path == dir && errors.Is(err, fs.ErrNotExist) {
				return fs.SkipDir // a part of the module is tested
			}
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			text, err := fs.ReadFile(module, path)
			assert.LessOrEqual(t, strings.Count(string(text), "\n"), most, "lines of %s", path)
			return err
		})
		require.NoError(t, err)
	}
}
