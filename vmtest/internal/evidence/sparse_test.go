package evidence

import (
	"bytes"
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
	d.Sparse("core", io.MultiReader(bytes.NewReader([]byte("head")), io.LimitReader(zeros{}, size), bytes.NewReader([]byte("tail"))))
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

	d.Sparse("large", io.LimitReader(ones{}, maxFile+page))
	assert.ErrorContains(t, d.Err(), "large.part: it is cut after 32 MiB")
}

// ones returns bytes that are not zero.
type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 1
	}
	return len(p), nil
}
