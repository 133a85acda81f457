package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// After a signal, report writes what it has read, although its input does not end.
func TestInterruptedReport(t *testing.T) {
	in, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	page := filepath.Join(t.TempDir(), "report.html")
	go func() {
		io.WriteString(w, `{"Action":"run","Package":"p","Test":"TestA"}`+"\n"+`{"Action":"pass","Package":"p","Test":"TestA"}`+"\n"+
			`{"Action":"run","Package":"p","Test":"TestB"}`+"\n")
		cancel(&interrupt{syscall.SIGTERM}) // the pipe has no buffer, so the lines were read
	}()
	var out, errors strings.Builder
	assert.Equal(t, 143, run(ctx, []string{"report", "--html", page}, streams{in, &out, &errors}))
	assert.Equal(t, "1 of 2 tests without a result\n", out.String())
	assert.Contains(t, errors.String(), "PASS p.TestA")
	assert.Contains(t, errors.String(), "vmtest: interrupted")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Contains(t, string(text), "TestB")
}
