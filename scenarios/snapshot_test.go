package scenarios

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unloadableNotice begins what is printed of a snapshot that QEMU cannot load.
const unloadableNotice = "the snapshot cannot be loaded ("

// A snapshot that is intact and that QEMU cannot load is discarded and made again, once.
func TestUnloadableSnapshot(t *testing.T) {
	t.Parallel()
	hostSide(t)
	needMachine(t)
	cache := t.TempDir()
	image := "VMTEST_IMAGE=" + imageDir(t)
	output := useCache(t, cache, image)
	require.Equal(t, 1, strings.Count(output, bootNotice), "%s", output)

	corruptState(t, cache)
	output = useCacheTwice(t, cache, image)
	assert.Contains(t, output, unloadableNotice)
	assert.Equal(t, 1, strings.Count(output, bootNotice), "%s", output)
	assertTidy(t, cache)

	output = useCache(t, cache, image)
	assert.NotContains(t, output, bootNotice)
	assert.NotContains(t, output, unloadableNotice)
}

// corruptState puts another device state of the same size into the snapshot of a cache, as
// if it had been made that way.
func corruptState(t *testing.T, cache string) {
	t.Helper()
	state, info := cacheFile(t, cache, "snapshots/*/state"), cacheFile(t, cache, "snapshots/*/snapshot.json")
	content, err := os.ReadFile(state)
	require.NoError(t, err)
	before := digestOf(content)
	clear(content[len(content)/2:])
	require.NoError(t, os.WriteFile(state, content, 0o600))
	description, err := os.ReadFile(info)
	require.NoError(t, err)
	require.Contains(t, string(description), before)
	require.NoError(t, os.WriteFile(info, bytes.ReplaceAll(description, []byte(before), []byte(digestOf(content))), 0o600))
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
