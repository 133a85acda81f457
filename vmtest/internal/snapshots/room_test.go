package snapshots

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
)

// TestNoRoomIsFoundBeforeTheWork boots no machine for a snapshot that would not fit.
func TestNoRoomIsFoundBeforeTheWork(t *testing.T) {
	s := newStore(t)
	const tooMuch = 1 << 40 // MiB
	_, err := s.Open(t.Context(), Info{Key: keyA, Memory: tooMuch}, func(string) {},
		func(*Files) error { t.Error("made although there is no room"); return nil })
	var none *host.Error
	require.ErrorAs(t, err, &none)
	assert.ErrorContains(t, err, "no space: "+s.dir+" has ")
	left, err := filepath.Glob(filepath.Join(s.dir, keyA+"/*"))
	require.NoError(t, err)
	assert.Empty(t, left)

	_, err = s.Scratch(tooMuch)
	assert.ErrorAs(t, err, &none)
	files, err := s.Scratch(1)
	require.NoError(t, err)
	defer files.Close()
	require.NoError(t, files.CheckRoom(1))
	assert.ErrorAs(t, files.CheckRoom(tooMuch), &none)
	assert.NoError(t, files.Full())
}
