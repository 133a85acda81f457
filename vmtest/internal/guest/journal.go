package guest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// JournalPortName is the name of the virtio-serial port that carries the journal to the
// host.
const JournalPortName = "org.systemd-vmtest.journal"

// JournalRequest is the name of the control request that makes the agent send the journal
// of this boot through its port, in the export format, and go on with what is logged. Its
// payload is a JournalStart, marshalled by the ssh package. The port is closed when the
// stream ends.
const JournalRequest = "journal"

// JournalStart says where the stream begins.
type JournalStart struct {
	// Cursor is that of the first entry, which may come again, or "" for all.
	Cursor string
}

// JournalTailsRequest is the name of the control request that returns where the journal
// ends. It also makes the stream go on at once: journald tells those that follow its files
// up to a quarter of a second after it has written
// (POST_CHANGE_TIMER_INTERVAL_USEC in systemd's journald).
const JournalTailsRequest = "journal-tails"

// JournalTail is the end of one file of the journal.
type JournalTail struct {
	Sequence string // the ID of the sequence that its entries are numbered in
	Number   uint64 // of its last entry
}

// startJournal answers a JournalRequest.
func startJournal(payload []byte) error {
	var start JournalStart
	if err := ssh.Unmarshal(payload, &start); err != nil {
		return fmt.Errorf("parse journal request: %w", err)
	}
	dev, err := waitDevice(context.Background(), "port "+JournalPortName, func() (string, bool) {
		return findDevice("/", "sys/class/virtio-ports/*/name", JournalPortName)
	})
	if err != nil {
		return err
	}
	// Not by package os, which would make writes not block. Nothing but journalctl uses
	// the port, and it waits in the driver while the host is slow.
	fd, err := unix.Open(dev, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dev, err)
	}
	port := os.NewFile(uintptr(fd), dev)
	defer port.Close() // journalctl has its own
	args := []string{"--boot", "--follow", "--lines=all", "--output=export", "--all", "--no-pager", "--quiet"}
	// A cursor of another boot would be taken for a time of day.
	if boot, err := bootID("/"); err != nil {
		return err
	} else if strings.Contains(start.Cursor, ";b="+hex.EncodeToString(boot)+";") {
		args = append(args, "--cursor="+start.Cursor)
	}
	cmd := exec.Command("journalctl", args...)
	cmd.Stdout = port
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start journalctl: %w", err)
	}
	go cmd.Wait() // the host sees that the port is closed
	return nil
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
	var list []string
	for _, dir := range journalDirs {
		files, err := filepath.Glob(filepath.Join(root, dir, string(bytes.TrimSpace(machine)), "*.journal"))
		if err != nil {
			return nil, fmt.Errorf("look for the journal: %w", err)
		}
		for _, file := range files {
			if strings.Contains(filepath.Base(file), "@") {
				continue // it is complete, and another file goes on with its sequence
			}
			tail, here, err := readJournalTail(file, boot)
			if err != nil {
				continue // journald renames and removes files
			}
			if here {
				list = append(list, tail.Sequence, fmt.Sprint(tail.Number))
			}
			// As journald itself does, by another change of the file.
			_ = unix.UtimesNanoAt(unix.AT_FDCWD, file, nil, 0)
		}
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

// StartJournal sends a JournalRequest.
func StartJournal(ctx context.Context, c Controller, start JournalStart) error {
	if _, err := c.Control(ctx, JournalRequest, ssh.Marshal(start)); err != nil {
		return fmt.Errorf("start the journal's stream: %w", err)
	}
	return nil
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
