package guest

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// journalFile returns the header of a journal file.
func journalFile(boot, sequence string, entries, number uint64) string {
	h := make([]byte, 256)
	copy(h, "LPKSHHRH")
	copy(h[headerTailBoot:], boot)
	copy(h[headerSequence:], sequence)
	binary.LittleEndian.PutUint64(h[headerEntries:], entries)
	binary.LittleEndian.PutUint64(h[headerTailNumber:], number)
	return string(h)
}

func TestJournalTails(t *testing.T) {
	const boot, other, sequence = "0123456789abcdef", "fedcba9876543210", "ssssssssssssssss"
	root := t.TempDir()
	tree{
		"etc/machine-id":                         "m\n",
		"var/log/journal/m.noisy/system.journal": journalFile(boot, sequence, 3, 1<<50),
		"proc/sys/kernel/random/boot_id":         "30313233-3435-3637-3839-616263646566\n",
		"var/log/journal/m/system.journal":       journalFile(boot, sequence, 3, 1<<40),
		"var/log/journal/m/user-1000.journal":    journalFile(boot, sequence, 1, 7),
		"var/log/journal/m/user-1001.journal":    journalFile(other, strings.Repeat("o", 16), 1, 8),
		"var/log/journal/m/user-1002.journal":    journalFile(boot, strings.Repeat("e", 16), 0, 9),
		"var/log/journal/m/system@1.journal":     journalFile(boot, sequence, 1, 10),
		"var/log/journal/m/system@2.journal":     journalFile(boot, strings.Repeat("r", 16), 5, 11),
		"var/log/journal/m/user-1003.journal":    journalFile(boot, strings.Repeat("r", 16), 0, 11), // has just been begun
		"var/log/journal/m/short.journal":        "LPKSHHRH",
		"var/log/journal/m/alien.journal":        strings.Repeat("x", 256),
		"var/log/journal/m/system.journal.other": "",
		"run/log/journal/m/system.journal":       journalFile(boot, strings.Repeat("\x01", 16), 1, 2),
	}.write(t, root)
	old := time.Unix(1, 0)
	touched := root + "/var/log/journal/m/system.journal"
	require.NoError(t, os.Chtimes(touched, old, old))
	reply, err := journalTails(root)
	require.NoError(t, err)
	tails, err := parseJournalTails(string(reply))
	require.NoError(t, err)
	s := strings.Repeat("73", 16)
	rotated := JournalTail{strings.Repeat("72", 16), 11}
	assert.Equal(t, []JournalTail{{strings.Repeat("01", 16), 2}, rotated, {s, 1 << 40}}, tails, "ends of the sequences that have entries of this boot")
	info, err := os.Stat(touched)
	require.NoError(t, err)
	assert.False(t, info.ModTime().Equal(old), "those that follow the file look again")

	_, err = journalTails(t.TempDir())
	assert.ErrorContains(t, err, "read boot ID")
}

func FuzzJournalTails(f *testing.F) {
	f.Add("\x00\x00\x00\x02ab\x00\x00\x00\x0212")
	f.Fuzz(func(t *testing.T, reply string) {
		if tails, err := parseJournalTails(reply); err == nil {
			require.LessOrEqual(t, 8*len(tails), len(reply))
		}
	})
}
