package journal

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// decode returns the entries of a stream that comes in parts of that size, how many of them
// were cut, and what is said of the damage to others.
func decode(stream string, size int) (raws []string, cuts int, rest string, damage []string) {
	var d decoder
	for len(stream) > 0 {
		n := min(size, len(stream))
		d.write([]byte(stream[:n]), func(raw []byte, cut bool, why string) {
			if cut {
				cuts++
			}
			if why != "" {
				damage = append(damage, why)
			}
			raws = append(raws, string(raw))
		})
		stream = stream[n:]
	}
	return raws, cuts, string(d.buf), damage
}

func TestDecodeInParts(t *testing.T) {
	one := export("A", "1", "BINARY", "x\n\ny=\x00", "B", "2")
	two := export("C", strings.Repeat("z", 70_000), "C", strings.Repeat("\n", 70_000))
	three := export("D", "\x00")
	stream := one + "\n\n" + two + three
	for _, size := range []int{1, 2, 7, 32 << 10, len(stream)} {
		raws, cuts, rest, damage := decode(stream+"E=not comple", size)
		assert.Empty(t, damage)
		assert.Zero(t, cuts)
		assert.Equal(t, []string{one, two, three}, raws, "parts of %d bytes", size)
		assert.Equal(t, "E=not comple", rest)
	}
}

// sized returns a field with a value of n bytes that is no line.
func sized(name string, n int) string {
	return name + "\n" + string(binary.LittleEndian.AppendUint64(nil, uint64(n))) + strings.Repeat("x", n) + "\n"
}

// A field that makes an entry too large is left out, whatever its form, and the stream goes on.
func TestEntryThatIsTooLarge(t *testing.T) {
	small := export("A", "1")
	line := "LINE=" + strings.Repeat("x", maxEntry) + "\n"
	mega := "MANY=" + strings.Repeat("x", 1<<20-6) + "\n"
	for name, test := range map[string]struct{ entry, kept string }{
		"a value":         {"A=1\n" + sized("HUGE", maxEntry+1) + "B=2\n\n", "A=1\nB=2\n\n"},
		"a line":          {"A=1\n" + line + "B=2\n\n", "A=1\nB=2\n\n"},
		"the first field": {line + "B=2\n\n", "B=2\n\n"},
		"the last field":  {"A=1\n" + line + "\n", "A=1\n\n"},
		"both":            {line + sized("HUGE", maxEntry) + line + "B=2\n\n", "B=2\n\n"},
		"many values":     {"A=1\n" + strings.Repeat(mega, 20) + "B=2\n\n", "A=1\n" + strings.Repeat(mega, 15) + "B=2\n\n"},
	} {
		for _, size := range []int{1<<20 - 1, 100 << 20} {
			raws, cuts, rest, damage := decode(small+test.entry+small, size)
			assert.Empty(t, damage, name)
			assert.Equal(t, 1, cuts, name)
			require.Len(t, raws, 3, name)
			assert.True(t, raws[1] == test.kept, "%s: it has %d bytes", name, len(raws[1]))
			assert.Equal(t, []string{small, small}, []string{raws[0], raws[2]}, name)
			assert.Empty(t, rest, name)
		}
	}
}

// What is no field damages its entry alone. journalctl begins the next entry without an end of
// the one whose file was removed.
func TestDamage(t *testing.T) {
	value := func(n uint64, value string) string {
		return "A\n" + string(binary.LittleEndian.AppendUint64(nil, n)) + value
	}
	next := "__CURSOR=2\nA=1\n\n"
	for _, test := range []struct{ rubbish, damage string }{
		{"=1\n", "a field has no name"},
		{value(3, "abcd\n"), `field "A" has no line feed after its 3 bytes`},
		{value(1<<40+1, "\n"), `field "A" has 1099511627777 bytes`},
		{strings.Repeat("A", 65) + "\n", `the name of a field has more than 64 bytes: "` + strings.Repeat("A", 64) + `"`},
		{"\x00\x00\n", `field "\x00\x00" has 5931050847353134943 bytes`}, // "__CURSOR"
	} {
		for _, size := range []int{1, 2, 7, 1 << 20} {
			raws, cuts, rest, damage := decode("__CURSOR=1\nB=2\n"+test.rubbish+next+next, size)
			assert.Equal(t, []string{"__CURSOR=1\nB=2\n\n", next, next}, raws, "%q in parts of %d", test.rubbish, size)
			assert.Equal(t, []string{test.damage}, damage, "%q in parts of %d", test.rubbish, size)
			assert.Zero(t, cuts)
			assert.Empty(t, rest)
		}
	}
	raws, _, _, damage := decode("__CURSOR=1\nB=2\n"+next, 7)
	assert.Equal(t, []string{"__CURSOR=1\nB=2\n\n", next}, raws)
	assert.Empty(t, damage)
	raws, _, _, damage = decode(strings.Repeat("=1\n", 10_000)+next, 1<<20)
	assert.Equal(t, []string{"\n", next}, raws, "lines that are no fields are one entry")
	assert.Len(t, damage, 1)
}

// What a guest sends neither stops the host other than by an error, nor gets a control
// character to a terminal.
func FuzzStore(f *testing.F) {
	f.Add(export(stamped(1, "MESSAGE", "\x1b[2Jx", "_PID", "1", "_PID", "2", "UNIT", "a.service")...), 3)
	f.Add(export(stamped(1, "MESSAGE", "\xff", "MESSAGE_ID", unitFailureResult, "_PID", "1", "UNIT", "a.service")...), 100)
	f.Add(export(stamped(3)...)+export(stamped(1)...)+"A\n\x05\x00\x00\x00\x00\x00\x00\x00abc", 5)
	f.Add(export(stamped(1)...)+"__CURSOR="+c(2)+"\n\x00\x00\n"+export(stamped(3)...), 2)
	f.Add("A=1\nB\n\xff\xff\xff\xff\xff\xff\xff\xff", 1)
	f.Fuzz(func(t *testing.T, stream string, size int) {
		size = min(max(size, 1), 1<<16)
		whole, parts := NewStore(), NewStore()
		_, err := whole.Write([]byte(stream))
		require.NoError(t, err)
		for rest := stream; len(rest) > 0; {
			n := min(size, len(rest))
			_, err := parts.Write([]byte(rest[:n]))
			require.NoError(t, err)
			rest = rest[n:]
		}
		require.Equal(t, whole.Losses(0), parts.Losses(0))
		entries, err := whole.Select(Query{}, nil)
		require.NoError(t, err)
		again, _ := parts.Select(Query{}, nil)
		require.Equal(t, entries, again)
		about, err := whole.Select(Query{Unit: "a.service"}, nil)
		require.NoError(t, err)
		require.LessOrEqual(t, len(about), len(entries))
		for _, line := range append(Lines(entries), whole.Losses(0)...) {
			requirePrintable(t, line)
		}
		for _, failure := range Failures(entries) {
			requirePrintable(t, fmt.Sprint(failure))
		}
		r, err := whole.Record()
		require.NoError(t, err)
		restored, err := Restore(r)
		require.NoError(t, err)
		require.Equal(t, whole.Len(), restored.Len())
		require.Equal(t, whole.Losses(0), restored.Losses(0))
		again, _ = restored.Select(Query{}, nil)
		require.Equal(t, entries, again)
	})
}
