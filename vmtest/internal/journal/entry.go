package journal

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/tail"
)

// Entry is one entry of the guest's journal. What a guest logs is untrusted text.
// vmtest.Entry documents the fields.
type Entry struct {
	Time       time.Time
	Monotonic  time.Duration
	Boot       string
	Cursor     string
	Unit       string
	About      string
	Invocation string
	Priority   int
	Identifier string
	PID        int
	MessageID  string
	Message    string
	Fields     map[string][][]byte
}

// NoPriority is the Priority of an entry without one.
const NoPriority = -1

// parseEntry reads an entry in the export format.
func parseEntry(raw []byte) (Entry, error) {
	e := Entry{Fields: make(map[string][][]byte, 32)}
	splitFields(raw, func(name string, value []byte) { e.Fields[name] = append(e.Fields[name], value) })
	micros, err := strconv.ParseInt(e.Field("__REALTIME_TIMESTAMP"), 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("parse journal timestamp: %w", err)
	}
	monotonic, err := strconv.ParseInt(e.Field("__MONOTONIC_TIMESTAMP"), 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("parse journal's monotonic timestamp: %w", err)
	}
	if e.Cursor = e.Field(cursorField); e.Cursor == "" {
		return Entry{}, errors.New("parse journal: an entry has no cursor")
	}
	e.Time, e.Monotonic = time.UnixMicro(micros), time.Duration(monotonic)*time.Microsecond
	e.Boot = e.Field("_BOOT_ID")
	e.Unit = e.first("_SYSTEMD_USER_UNIT", "_SYSTEMD_UNIT")
	e.About = e.first("USER_UNIT", "UNIT", "OBJECT_SYSTEMD_USER_UNIT", "OBJECT_SYSTEMD_UNIT", "COREDUMP_USER_UNIT", "COREDUMP_UNIT")
	e.Invocation = e.first("USER_INVOCATION_ID", "INVOCATION_ID")
	if e.Invocation == "" && e.About == "" {
		e.Invocation = e.Field("_SYSTEMD_INVOCATION_ID")
	}
	e.Priority = NoPriority
	if p := e.Field("PRIORITY"); len(p) == 1 && '0' <= p[0] && p[0] <= '7' {
		e.Priority = int(p[0] - '0')
	}
	e.Identifier, e.MessageID, e.Message = e.Field("SYSLOG_IDENTIFIER"), e.Field("MESSAGE_ID"), e.Field("MESSAGE")
	e.PID, _ = strconv.Atoi(e.Field("_PID")) // 0 if there is none
	return e, nil
}

// UnitID names a unit: one of the system, or of the systemd of a user.
type UnitID struct {
	Name string
	UID  string // of the user, or ""
}

// String names the unit for a person.
func (u UnitID) String() string {
	if u.UID == "" {
		return u.Name
	}
	return u.Name + " of user " + u.UID
}

// Units returns the unit that logged the entry, and the one that it is about.
func (e Entry) Units() (by, about UnitID) { return e.by(), e.about() }

// by returns the unit that Unit names.
func (e Entry) by() UnitID {
	if name := e.Field("_SYSTEMD_USER_UNIT"); name != "" {
		return UnitID{name, e.first("_SYSTEMD_OWNER_UID", "_UID")}
	}
	return UnitID{Name: e.Unit}
}

// about returns the unit that About names.
func (e Entry) about() UnitID {
	for _, fields := range [][3]string{
		{"USER_UNIT", "_UID", "_UID"},
		{"UNIT"},
		{"OBJECT_SYSTEMD_USER_UNIT", "OBJECT_SYSTEMD_OWNER_UID", "OBJECT_UID"},
		{"OBJECT_SYSTEMD_UNIT"},
		{"COREDUMP_USER_UNIT", "COREDUMP_OWNER_UID", "COREDUMP_UID"},
	} {
		if name := e.Field(fields[0]); name != "" {
			return UnitID{name, e.first(fields[1], fields[2])}
		}
	}
	return UnitID{Name: e.About}
}

// Field returns the last value of a field, or "" if the entry does not have it.
func (e Entry) Field(name string) string {
	if values := e.Fields[name]; len(values) > 0 {
		return string(values[len(values)-1])
	}
	return ""
}

// first returns the value of the first of these fields that the entry has.
func (e Entry) first(names ...string) string {
	for _, name := range names {
		if value := e.Field(name); value != "" {
			return value
		}
	}
	return ""
}

// String returns the entry in one line, as journalctl's short output has it, safe to
// print.
func (e Entry) String() string {
	return strings.ReplaceAll(e.text(), "\n", `\n`)
}

// text is String with the message's line feeds.
func (e Entry) text() string {
	return tail.Printable(fmt.Sprintf("%s %s: %s", e.Time.UTC().Format("15:04:05.000"), e.sender(), e.Message))
}

// sender returns the identifier and the process ID.
func (e Entry) sender() string {
	if e.PID != 0 {
		return e.Identifier + "[" + strconv.Itoa(e.PID) + "]"
	}
	return e.Identifier
}
