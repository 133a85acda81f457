package host

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestErrorNamesTheCheck(t *testing.T) {
	assert.EqualError(t, &Error{Cause: "no QEMU", Cure: "install it"}, "no QEMU (install it)")
	assert.EqualError(t, &Error{Cause: "no QEMU", Cure: "install it", Check: QEMU}, `no QEMU (install it; see "QEMU" in vmtest doctor)`)
}

// Every error of what the host lacks names the line of "vmtest doctor" about it, except
// those about an image that a user brought.
func TestEveryErrorNamesACheck(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	found := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		if rel == "images/external.go" || rel == "images/imported.go" {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.CompositeLit); ok && isHostError(file.Name.Name, lit.Type) {
				found++
				assert.True(t, hasKey(lit, "Check"), "%s: this error names no line of vmtest doctor", set.Position(lit.Pos()))
			}
			return true
		})
		return nil
	}))
	assert.Greater(t, found, 10, "errors of the host found in the sources")
}

// isHostError reports whether a type's name in a file of package pkg is that of an Error.
func isHostError(pkg string, typ ast.Expr) bool {
	switch typ := typ.(type) {
	case *ast.Ident:
		return typ.Name == "HostError" || typ.Name == "Error" && pkg == "host"
	case *ast.SelectorExpr:
		x, ok := typ.X.(*ast.Ident)
		return ok && (x.Name == "host" && typ.Sel.Name == "Error" || typ.Sel.Name == "HostError")
	}
	return false
}

func hasKey(lit *ast.CompositeLit, name string) bool {
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if key, ok := kv.Key.(*ast.Ident); ok && key.Name == name {
				return true
			}
		}
	}
	return false
}
