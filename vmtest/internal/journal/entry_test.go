package journal

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// export returns an entry in the export format, of pairs of a name and a value. A value
// with a byte that is no text is written as a binary one.
func export(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		name, value := pairs[i], pairs[i+1]
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == '\ufffd' }) {
			b.WriteString(name + "\n" + string(binary.LittleEndian.AppendUint64(nil, uint64(len(value)))) + value + "\n")
			continue
		}
		b.WriteString(name + "=" + value + "\n")
	}
	return b.String() + "\n"
}

// stamped adds what each entry has.
func stamped(n int, pairs ...string) []string {
	return append([]string{
		"__CURSOR", c(n), "__REALTIME_TIMESTAMP", "1767323045000006", "__MONOTONIC_TIMESTAMP", fmt.Sprint(n), "_BOOT_ID", "b",
	}, pairs...)
}

func c(i int) string { return fmt.Sprintf("s=1;i=%x;b=b", i) }

// entry returns an entry with these fields.
func entry(pairs ...string) Entry {
	e, err := parseEntry([]byte(export(stamped(1, pairs...)...)))
	if err != nil {
		panic(err)
	}
	return e
}

func TestReadEntry(t *testing.T) {
	e := entry("MESSAGE", "it runs", "SYSLOG_IDENTIFIER", "demo", "_PID", "7", "PRIORITY", "3",
		"_SYSTEMD_UNIT", "demo.service", "_SYSTEMD_INVOCATION_ID", "i1", "MESSAGE_ID", "m1",
		"BYTES", "hi\xff\n\x00", "TWICE", "first", "TWICE", "a\nb", "EQUALS", "x=y=z", "EMPTY", "")
	assert.Equal(t, c(1), e.Cursor)
	assert.Equal(t, "it runs", e.Message)
	assert.True(t, time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC).Equal(e.Time), "%v", e.Time)
	assert.Equal(t, time.Microsecond, e.Monotonic)
	assert.Equal(t, []any{"b", "demo.service", "", "i1", 3, "demo", 7, "m1"},
		[]any{e.Boot, e.Unit, e.About, e.Invocation, e.Priority, e.Identifier, e.PID, e.MessageID})
	assert.Equal(t, "hi\xff\n\x00", e.Field("BYTES"))
	assert.Equal(t, [][]byte{[]byte("first"), []byte("a\nb")}, e.Fields["TWICE"])
	assert.Equal(t, "a\nb", e.Field("TWICE"), "the last value")
	assert.Equal(t, "x=y=z", e.Field("EQUALS"))
	assert.Contains(t, e.Fields, "EMPTY")
	assert.Equal(t, "", e.Field("NONE"))
	assert.Equal(t, "03:04:05.000 demo[7]: it runs", e.String())
}

func TestWhoseEntry(t *testing.T) {
	for _, test := range []struct {
		entry                   Entry
		unit, about, invocation string
	}{
		{entry("_SYSTEMD_UNIT", "init.scope", "UNIT", "a.service", "INVOCATION_ID", "run", "_SYSTEMD_INVOCATION_ID", "own"), "init.scope", "a.service", "run"},
		{entry("_SYSTEMD_UNIT", "init.scope", "UNIT", "a.socket", "_SYSTEMD_INVOCATION_ID", "own"), "init.scope", "a.socket", ""},
		{entry("_SYSTEMD_UNIT", "user@7.service", "_SYSTEMD_USER_UNIT", "u.service", "_SYSTEMD_INVOCATION_ID", "own"), "u.service", "", "own"},
		{entry("_SYSTEMD_UNIT", "user@7.service", "USER_UNIT", "u.service", "USER_INVOCATION_ID", "run"), "user@7.service", "u.service", "run"},
		{entry("_TRANSPORT", "kernel"), "", "", ""},
	} {
		assert.Equal(t, []string{test.unit, test.about, test.invocation}, []string{test.entry.Unit, test.entry.About, test.entry.Invocation})
		assert.Equal(t, NoPriority, test.entry.Priority)
	}
}

func TestEntryIsSafeToPrint(t *testing.T) {
	e := Entry{Message: "\x1b]0;owned\x07\x1b[2Jhello", Identifier: "x"}
	assert.Equal(t, "00:00:00.000 x: hello", e.String())
	e = Entry{Message: "fine\n  | 00:00:01.000 forged", Identifier: "x"}
	assert.Equal(t, `00:00:00.000 x: fine\n  | 00:00:01.000 forged`, e.String())
}

func TestEntryWithoutStamps(t *testing.T) {
	for want, pairs := range map[string][]string{
		"parse journal timestamp: ":             {"__CURSOR", "c", "__REALTIME_TIMESTAMP", "x"},
		"parse journal's monotonic timestamp: ": {"__CURSOR", "c", "__REALTIME_TIMESTAMP", "1"},
		"parse journal: an entry has no cursor": {"__REALTIME_TIMESTAMP", "1", "__MONOTONIC_TIMESTAMP", "1"},
	} {
		_, err := parseEntry([]byte(export(pairs...)))
		assert.ErrorContains(t, err, want)
	}
}

func requirePrintable(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		require.False(t, unicode.IsControl(r) && r != '\n' && r != '\t', "%q in %q", r, text)
	}
}
