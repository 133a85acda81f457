package evidence

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// zeros returns zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Zeros take no room in a sparse file. One that is cut is reported.
func TestSparse(t *testing.T) {
	d, err := Make(t.TempDir(), "TestA", time.Now())
	require.NoError(t, err)
	const size = 100 << 20
	d.Sparse(t.Context(), "core", io.MultiReader(bytes.NewReader([]byte("head")), io.LimitReader(zeros{}, size), bytes.NewReader([]byte("tail"))))
	require.NoError(t, d.Err())
	f, err := os.Open(filepath.Join(d.Path(), "core"))
	require.NoError(t, err)
	defer f.Close()
	var st syscall.Stat_t
	require.NoError(t, syscall.Fstat(int(f.Fd()), &st))
	assert.EqualValues(t, size+8, st.Size)
	assert.Less(t, st.Blocks*512, int64(1<<20), "bytes on the disk")
	end := make([]byte, 4)
	_, err = f.ReadAt(end, size+4)
	require.NoError(t, err)
	assert.Equal(t, "tail", string(end))

	d.Sparse(t.Context(), "large", io.LimitReader(ones{}, maxFile+page))
	assert.ErrorContains(t, d.Err(), "large.part: it is cut after 32 MiB")

	d.Sparse(t.Context(), "core", bytes.NewReader([]byte("another")))
	assert.ErrorContains(t, d.Err(), "core: open ", "a second one of that name")
	assert.FileExists(t, f.Name(), "the first one stays whole")
	d.Record(Record{})
	r, err := Read(d.Path())
	require.NoError(t, err)
	require.Len(t, r.Files, 1, "those that are whole")
	assert.Equal(t, "core", r.Files[0].Name)
	assert.EqualValues(t, size+8, r.Files[0].Bytes)
	_, err = f.Seek(0, io.SeekStart)
	require.NoError(t, err)
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	assert.Equal(t, digest(data), r.Files[0].SHA256)
}

// A file of zeros without end ends with the time for the evidence.
func TestSparseFileEndsWithItsTime(t *testing.T) {
	d, err := Make(t.TempDir(), "TestA", time.Now())
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the time is up"))
	d.Sparse(ctx, "core", zeros{})
	assert.ErrorContains(t, d.Err(), "core.part: the time is up")
}

// ones returns bytes that are not zero.
type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 1
	}
	return len(p), nil
}
