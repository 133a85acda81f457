package journal

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An entry of systemd 252.
const wholeEntry = `__CURSOR=s=9d19f5a82cfb44ed9bb8ce7bf4eeb8ad;i=2a59;b=29d924706b9b490f9d89ee7e82f65e5d;m=f0698b;t=59b08c1fe9c4b;x=ed5ee3e49e71ca05
__REALTIME_TIMESTAMP=1577836800285771
__MONOTONIC_TIMESTAMP=15755659
_BOOT_ID=29d924706b9b490f9d89ee7e82f65e5d
PRIORITY=6
_UID=0
_GID=0
_MACHINE_ID=6a4ae923e3504736b876086bee00c0b0
_HOSTNAME=localhost
_RUNTIME_SCOPE=system
_TRANSPORT=stdout
_STREAM_ID=323c396ce1c64caaaec373c3ee48ea3d
SYSLOG_IDENTIFIER=burst
_PID=245
MESSAGE=10345
`

func TestTorn(t *testing.T) {
	parse := func(text string) Entry {
		t.Helper()
		e, err := parseEntry([]byte(text))
		require.NoError(t, err)
		return e
	}
	assert.False(t, parse(wholeEntry).torn(), "as journald wrote it")
	lines := strings.SplitAfter(wholeEntry, "\n")
	for n, line := range lines[3 : len(lines)-1] {
		without := strings.Join(lines[:3+n], "") + strings.Join(lines[4+n:], "")
		assert.True(t, parse(without).torn(), "without %s", line)
		assert.True(t, parse(strings.Join(lines[:3+n], "")).torn(), "up to %s", line)
	}
	assert.True(t, parse(strings.Replace(wholeEntry, "=10345", "=10346", 1)).torn(), "another value")

	// Its hash is that of the entry without the field that was logged twice.
	twice := strings.Replace(wholeEntry, "ed5ee3e49e71ca05", cancelled("PRIORITY=6", 0xed5ee3e49e71ca05), 1)
	assert.False(t, parse(twice).torn(), "a field twice")
	both := strings.Replace(wholeEntry, "ed5ee3e49e71ca05", cancelled("_PID=245", 0xed5ee3e49e71ca05^jenkinsHash([]byte("PRIORITY=6"))), 1)
	assert.False(t, parse(both).torn(), "two fields twice")
	hash := uint64(0xed5ee3e49e71ca05)
	for _, field := range []string{"PRIORITY=6", "_PID=245", "_UID=0", "MESSAGE=10345"} {
		hash ^= jenkinsHash([]byte(field))
	}
	many := strings.Replace(wholeEntry, "ed5ee3e49e71ca05", strconv.FormatUint(hash, 16), 1)
	assert.False(t, parse(many).torn(), "four fields twice")
	assert.True(t, parse(strings.Replace(many, "_GID=0\n", "", 1)).torn(), "four fields twice, and one missing")
	assert.True(t, parse(strings.Replace(both, "MESSAGE=10345\n", "", 1)).torn(), "two fields twice, and one missing")
	assert.False(t, parse(strings.Replace(wholeEntry, ";x=ed5ee3e49e71ca05", "", 1)).torn(), "a cursor without a hash")
}

// cancelled returns hash without that of a field.
func cancelled(field string, hash uint64) string {
	return strconv.FormatUint(hash^jenkinsHash([]byte(field)), 16)
}
