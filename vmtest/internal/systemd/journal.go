package systemd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/tail"
)

// Query selects entries of the guest's journal, of this boot. The zero
// value selects all of them.
type Query struct {
	Unit  string   // entries of this unit and by systemd about it, as journalctl -u
	Match []string // FIELD=value, as journalctl takes them
	After string   // entries after this cursor
	Last  int      // no more than the last so many; 0 is all
}

func (q Query) args() []string {
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

// wanted says what is selected, for an error.
func (q Query) wanted() string {
	text := "an entry"
	if q.Unit != "" {
		text += " of " + q.Unit
	}
	if len(q.Match) > 0 {
		text += " with " + strings.Join(q.Match, " ")
	}
	return text
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
	return tail.Printable(fmt.Sprintf("%s %s: %s", e.Time.UTC().Format("15:04:05.000"), who, e.Message))
}

// Run runs a command in the guest and writes its standard output to stdout.
type Run func(ctx context.Context, args []string, stdout io.Writer) error

// Journal reads the journal of a guest, of this boot, by running journalctl there.
type Journal struct {
	Run Run
}

// Entries returns the entries that q selects, oldest first. It first makes journald write
// what it has received, so that a line that was logged before the call is there.
func (j Journal) Entries(ctx context.Context, q Query) ([]Entry, error) {
	if err := j.Run(ctx, []string{"journalctl", "--sync"}, io.Discard); err != nil {
		return nil, err
	}
	var entries []Entry
	err := j.each(ctx, q.args(), func(e Entry) bool {
		entries = append(entries, e)
		return true
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// Wait returns the first entry that q selects and match accepts, among those that are
// there and those still to come.
func (j Journal) Wait(ctx context.Context, q Query, match func(Entry) bool) (Entry, error) {
	args := append(q.args(), "--follow")
	if q.Last == 0 {
		args = append(args, "--lines=all") // --follow alone begins ten lines before the end
	}
	var found Entry
	matched := false
	err := j.each(ctx, args, func(e Entry) bool {
		found, matched = e, match(e)
		return !matched
	})
	switch {
	case matched:
		return found, nil
	case ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)):
		err = context.Cause(ctx) // journalctl ended because ctx did
	case err == nil:
		err = errors.New("journalctl --follow ended by itself")
	}
	return Entry{}, fmt.Errorf("wait for %s in the journal: %w", q.wanted(), err)
}

// errEnough ends the journalctl of which no more entries are wanted.
var errEnough = errors.New("no more entries are wanted")

// each runs journalctl and calls each with its entries as they come, until that
// returns false.
func (j Journal) each(ctx context.Context, args []string, each func(Entry) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, w := io.Pipe()
	defer r.Close()
	ended := make(chan error, 1)
	go func() {
		err := j.Run(ctx, args, w)
		w.Close()
		ended <- err
	}()
	err := readEntries(r, each)
	r.CloseWithError(errEnough)
	cancel(errEnough)
	// First the command's own error: a guest that goes leaves half a line to parse.
	if runErr := <-ended; runErr != nil && !errors.Is(runErr, errEnough) {
		return runErr
	}
	return err
}

// maxEntry is the most bytes of an entry's JSON that are taken into memory.
const maxEntry = 64 << 20

// readEntries parses journalctl's JSON output, an object a line, until each
// returns false.
func readEntries(r io.Reader, each func(Entry) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEntry)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		entry, err := parseEntry(lines.Bytes())
		if err != nil {
			return err
		}
		if !each(entry) {
			return nil
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("read journal: an entry has more than %d MiB", maxEntry>>20)
	} else if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	return nil
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
			return Entry{}, fmt.Errorf("parse journal field %q: %w", name, err)
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
