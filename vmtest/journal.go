package vmtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// JournalQuery selects entries of the guest's journal, of this boot. The zero
// value selects all of them.
type JournalQuery struct {
	Unit  string   // entries of this unit and by systemd about it, as journalctl -u
	Match []string // FIELD=value, as journalctl takes them
	After string   // entries after this cursor
	Last  int      // no more than the last so many; 0 is all
}

func (q JournalQuery) args() []string {
	args := []string{"journalctl", "--boot", "--output=json", "--all", "--no-pager"}
	if q.Unit != "" {
		args = append(args, "--unit="+q.Unit)
	}
	if q.After != "" {
		args = append(args, "--after-cursor="+q.After)
	}
	if q.Last > 0 {
		args = append(args, "--lines="+strconv.Itoa(q.Last))
	}
	return append(args, q.Match...)
}

// Entry is one entry of the guest's journal. What a guest logs is untrusted text.
type Entry struct {
	Time    time.Time
	Cursor  string
	Message string
	// Fields has all fields by name (systemd.journal-fields(7)); of one that
	// occurs more than once, the last value.
	Fields map[string]string
}

// String is the entry in one line, as journalctl's short output has it, safe to
// print.
func (e Entry) String() string {
	who := e.Fields["SYSLOG_IDENTIFIER"]
	if pid := e.Fields["_PID"]; pid != "" {
		who += "[" + pid + "]"
	}
	return printable([]byte(fmt.Sprintf("%s %s: %s", e.Time.UTC().Format("15:04:05.000"), who, e.Message)))
}

// Journal returns the entries that q selects, oldest first. It first has journald
// write out what it has received, so that a line logged before the call is there.
func (m *Machine) Journal(ctx context.Context, q JournalQuery) ([]Entry, error) {
	if _, err := m.Run(ctx, Command{Args: []string{"journalctl", "--sync"}}); err != nil {
		return nil, err
	}
	r, err := m.Run(ctx, Command{Args: q.args()})
	if err != nil {
		return nil, err
	}
	var entries []Entry
	err = readEntries(bytes.NewReader(r.Stdout), func(e Entry) bool {
		entries = append(entries, e)
		return true
	})
	return entries, err
}

// errMatched ends the command whose output WaitJournal has read enough of.
var errMatched = errors.New("no more entries are wanted")

// WaitJournal returns the first entry that q selects and match accepts, among
// those that are there and those still to come, until ctx ends.
func (m *Machine) WaitJournal(ctx context.Context, q JournalQuery, match func(Entry) bool) (Entry, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	args := append(q.args(), "--follow")
	if q.Last == 0 {
		args = append(args, "--lines=all") // --follow alone begins ten lines before the end
	}
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := m.Run(ctx, Command{Args: args, Stdout: w})
		w.CloseWithError(io.EOF)
		ended <- err
	}()
	var found Entry
	err := readEntries(r, func(e Entry) bool {
		if !match(e) {
			return true
		}
		found = e
		return false
	})
	r.Close()
	cancel(errMatched)
	runErr := <-ended
	switch {
	case err != nil:
		return Entry{}, err
	case found.Cursor != "":
		return found, nil
	case runErr == nil:
		runErr = errors.New("journalctl --follow ended by itself")
	}
	return Entry{}, fmt.Errorf("wait for journal entry: %w", runErr)
}

// readEntries parses journalctl's JSON output, an object a line, until each
// returns false.
func readEntries(r io.Reader, each func(Entry) bool) error {
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			entry, err := parseEntry(line)
			if err != nil {
				return err
			}
			if !each(entry) {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
	}
}

func parseEntry(line []byte) (Entry, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(line, &raw); err != nil {
		return Entry{}, fmt.Errorf("parse journal entry %.200q: %w", line, err)
	}
	e := Entry{Fields: make(map[string]string, len(raw))}
	for name, value := range raw {
		text, err := fieldText(value)
		if err != nil {
			return Entry{}, fmt.Errorf("parse journal field %s: %w", name, err)
		}
		e.Fields[name] = text
	}
	micros, err := strconv.ParseInt(e.Fields["__REALTIME_TIMESTAMP"], 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("parse journal timestamp: %w", err)
	}
	e.Time = time.UnixMicro(micros)
	e.Cursor = e.Fields["__CURSOR"]
	e.Message = e.Fields["MESSAGE"]
	return e, nil
}

// fieldText reads a field's value: a string; an array of numbers, for bytes that
// are not UTF-8; an array of those, for a field that occurs more than once; or
// null, for one that is too large to show (systemd's JOURNAL_EXPORT_FORMATS).
func fieldText(value json.RawMessage) (string, error) {
	var text *string
	if json.Unmarshal(value, &text) == nil {
		if text == nil {
			return "", nil
		}
		return *text, nil
	}
	var octets []byte
	if json.Unmarshal(value, &octets) == nil {
		return string(octets), nil
	}
	var several []json.RawMessage
	if err := json.Unmarshal(value, &several); err != nil {
		return "", err
	}
	if len(several) == 0 {
		return "", nil
	}
	return fieldText(several[len(several)-1])
}
