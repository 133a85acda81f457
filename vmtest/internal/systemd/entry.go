package systemd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"example.org/systemd-vmtest/internal/tail"
)

// Entry is one entry of the guest's journal. What a guest logs is untrusted text.
// vmtest.Entry documents the fields.
type Entry struct {
	Time    time.Time
	Cursor  string
	Message string
	Fields  map[string]string
}

// String returns the entry in one line, as journalctl's short output has it, safe to
// print.
func (e Entry) String() string {
	return tail.Printable(fmt.Sprintf("%s %s: %s", e.Time.UTC().Format("15:04:05.000"), e.sender(), e.Message))
}

// sender returns the identifier and the process ID.
func (e Entry) sender() string {
	who := e.Fields["SYSLOG_IDENTIFIER"]
	if pid := e.Fields["_PID"]; pid != "" {
		who += "[" + pid + "]"
	}
	return who
}

// fields are all values of an entry's fields, by name.
type fields map[string][]string

// last returns the last value of a field, or "".
func (f fields) last(name string) string {
	if values := f[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}

// maxEntry is the most bytes of an entry's JSON that are taken into memory.
const maxEntry = 64 << 20

// readEntries parses journalctl's JSON output, an object a line, and calls each with the
// entries that keep accepts, until each returns false. A nil keep accepts all.
func readEntries(r io.Reader, keep func(fields) bool, each func(Entry) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEntry)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		fields, err := parseFields(lines.Bytes())
		if err != nil {
			return err
		}
		entry, err := newEntry(fields)
		if err != nil {
			return err
		}
		if (keep == nil || keep(fields)) && !each(entry) {
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

func newEntry(fields fields) (Entry, error) {
	e := Entry{Fields: make(map[string]string, len(fields))}
	for name := range fields {
		e.Fields[name] = fields.last(name)
	}
	micros, err := strconv.ParseInt(e.Fields["__REALTIME_TIMESTAMP"], 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("parse journal timestamp: %w", err)
	}
	if _, err := strconv.ParseInt(e.Fields["__MONOTONIC_TIMESTAMP"], 10, 64); err != nil {
		return Entry{}, fmt.Errorf("parse journal's monotonic timestamp: %w", err)
	}
	e.Time = time.UnixMicro(micros)
	e.Cursor = e.Fields["__CURSOR"]
	e.Message = e.Fields["MESSAGE"]
	return e, nil
}

func parseFields(line []byte) (fields, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(line, &raw); err != nil {
		return nil, fmt.Errorf("parse journal entry %.200q: %w", line, err)
	}
	fields := make(fields, len(raw))
	for name, value := range raw {
		values, err := fieldValues(value)
		if err != nil {
			return nil, fmt.Errorf("parse journal field %q: %w", name, err)
		}
		fields[name] = values
	}
	return fields, nil
}

// fieldValues reads the values of a field: a string; an array of numbers, for bytes that
// are not UTF-8; an array of these, for a field that occurs more than once; or null, for
// a value that is too large to show (systemd's JOURNAL_EXPORT_FORMATS).
func fieldValues(value json.RawMessage) ([]string, error) {
	if text, err := fieldValue(value); err == nil {
		return []string{text}, nil
	}
	var several []json.RawMessage
	if err := json.Unmarshal(value, &several); err != nil {
		return nil, err
	}
	values := make([]string, len(several))
	for i, v := range several {
		var err error
		if values[i], err = fieldValue(v); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func fieldValue(value json.RawMessage) (string, error) {
	var text *string
	if json.Unmarshal(value, &text) == nil {
		if text == nil {
			return "", nil
		}
		return *text, nil
	}
	var octets []int
	if err := json.Unmarshal(value, &octets); err != nil {
		return "", err
	}
	data := make([]byte, len(octets))
	for i, o := range octets {
		if o < 0 || o > 0xff {
			return "", fmt.Errorf("%d is not a byte", o)
		}
		data[i] = byte(o)
	}
	return string(data), nil
}
