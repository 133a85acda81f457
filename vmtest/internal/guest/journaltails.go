package guest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// JournalTailsRequest is the name of the control request that returns where the journal
// ends. It also makes the stream go on at once: journald tells those that follow its files
// up to a quarter of a second after it has written
// (POST_CHANGE_TIMER_INTERVAL_USEC in systemd's journald).
const JournalTailsRequest = "journal-tails"

// JournalTail is the end of one sequence of the journal.
type JournalTail struct {
	Sequence string // the ID of the sequence that its entries are numbered in
	Number   uint64 // of its last entry in this boot
}

// journalDirs are where journald keeps its files (systemd-journald.service(8)).
var journalDirs = []string{"var/log/journal", "run/log/journal"}

// journalTails answers a JournalTailsRequest.
func journalTails(root string) ([]byte, error) {
	boot, err := bootID(root)
	if err != nil {
		return nil, err
	}
	// The directories of namespaces and of other machines are not in the stream.
	machine, err := os.ReadFile(filepath.Join(root, "etc/machine-id"))
	if err != nil {
		return nil, fmt.Errorf("read machine ID: %w", err)
	}
	last := make(map[string]uint64)
	for _, dir := range journalDirs {
		files, err := filepath.Glob(filepath.Join(root, dir, string(bytes.TrimSpace(machine)), "*.journal"))
		if err != nil {
			return nil, fmt.Errorf("look for the journal: %w", err)
		}
		for _, file := range files {
			tail, here, err := readJournalTail(file, boot)
			if err != nil {
				continue // journald renames and removes files
			}
			if here {
				last[tail.Sequence] = max(last[tail.Sequence], tail.Number)
			}
			// A file that is complete goes on in another, which may have no entry yet.
			if !strings.Contains(filepath.Base(file), "@") {
				// As journald itself does, by another change of the file.
				_ = unix.UtimesNanoAt(unix.AT_FDCWD, file, nil, 0)
			}
		}
	}
	var list []string
	for _, sequence := range slices.Sorted(maps.Keys(last)) {
		list = append(list, sequence, fmt.Sprint(last[sequence]))
	}
	return []byte(wire.Pack(list)), nil
}

func bootID(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	if err != nil {
		return nil, fmt.Errorf("read boot ID: %w", err)
	}
	id, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil {
		return nil, fmt.Errorf("read boot ID: %w", err)
	}
	return id, nil
}

// The header of a journal file (https://systemd.io/JOURNAL_FILE_FORMAT): offsets of
// fields, and the size up to the last of them.
const (
	headerTailBoot   = 56 // ID of the boot in which it was written last
	headerSequence   = 72
	headerEntries    = 152
	headerTailNumber = 160
	headerSize       = 168
)

// readJournalTail returns the end of a file, and whether it has entries of the boot.
func readJournalTail(file string, boot []byte) (JournalTail, bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return JournalTail{}, false, err
	}
	defer f.Close()
	h := make([]byte, headerSize)
	if _, err := f.ReadAt(h, 0); err != nil {
		return JournalTail{}, false, err
	}
	if !bytes.HasPrefix(h, []byte("LPKSHHRH")) {
		return JournalTail{}, false, fmt.Errorf("%s is not a journal", file)
	}
	number := func(at int) uint64 { return binary.LittleEndian.Uint64(h[at:]) }
	return JournalTail{Sequence: hex.EncodeToString(h[headerSequence : headerSequence+16]), Number: number(headerTailNumber)},
		number(headerEntries) > 0 && bytes.Equal(h[headerTailBoot:headerTailBoot+16], boot), nil
}

// JournalTails sends a JournalTailsRequest.
func JournalTails(ctx context.Context, c Controller) ([]JournalTail, error) {
	reply, err := c.Control(ctx, JournalTailsRequest, nil)
	if err != nil {
		return nil, fmt.Errorf("find the end of the journal: %w", err)
	}
	return parseJournalTails(string(reply))
}

func parseJournalTails(reply string) ([]JournalTail, error) {
	list, err := wire.Unpack(reply)
	if err == nil && len(list)%2 != 0 {
		err = fmt.Errorf("%d values", len(list))
	}
	if err != nil {
		return nil, fmt.Errorf("parse the end of the journal: %w", err)
	}
	var tails []JournalTail
	for ; len(list) > 0; list = list[2:] {
		t := JournalTail{Sequence: list[0]}
		if _, err := fmt.Sscan(list[1], &t.Number); err != nil {
			return nil, fmt.Errorf("parse the end of the journal: %w", err)
		}
		tails = append(tails, t)
	}
	return tails, nil
}
