package vmtest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/evidence"
	"example.org/systemd-vmtest/vmtest/internal/guest"
)

// archiveOf returns an archive with a file.
func archiveOf(t *testing.T, path, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: path, Size: int64(len(text)), Mode: 0o600}))
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// failing is a reader that ends with an error.
type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// The dumps of an archive are in the evidence, and the error of the command after its end.
func TestUnpackCores(t *testing.T) {
	dir, err := evidence.Make(t.TempDir(), t.Name(), time.Now())
	require.NoError(t, err)
	archive := io.MultiReader(bytes.NewReader(archiveOf(t, "/var/tmp/core", "dump")), failing{errors.New("tar: cannot stat the other")})
	unpackCores(t.Context(), dir, archive, map[string]string{"/var/tmp/core": "core-7", "/gone": "core-8"})
	text, err := os.ReadFile(filepath.Join(dir.Path(), "core-7"))
	require.NoError(t, err)
	assert.Equal(t, "dump", string(text))
	assert.ErrorContains(t, dir.Err(), "core dumps: tar: cannot stat the other")
}

// An answer of the guest that is too large is an error, and takes no memory.
func TestLargeAnswer(t *testing.T) {
	a := answer{left: maxCoreText}
	_, err := a.Write([]byte("some"))
	require.NoError(t, err)
	_, err = io.Copy(&a, strings.NewReader(strings.Repeat("x", maxCoreText)))
	assert.ErrorContains(t, err, "it is more than 1024 KiB")
	assert.Equal(t, "some", a.text.String()[:4])
	assert.LessOrEqual(t, a.text.Len(), maxCoreText)
}

// Each dump has a name of its own.
func TestCoreNames(t *testing.T) {
	assert.Equal(t, map[string]string{"/a": "core-7", "/b.zst": "core-7-2.zst", "/c.tmp": "core-8"}, coreNames([]guest.Core{
		{Path: "/a", PID: 7}, {PID: 7}, {Path: "/b.zst", PID: 7}, {Path: "/c.tmp", PID: 8}, {Path: "/a", PID: 7},
	}))
}
