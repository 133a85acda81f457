package systemd

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// matches are conditions on an entry's fields as journalctl(1) takes them: an entry must
// meet one of the groups. Nil accepts every entry.
type matches []matchGroup

// matchGroup has the values that are accepted of each field. All of its fields must have
// one.
type matchGroup map[string][]string

// journalMatch is a condition FIELD=value (sd_journal_add_match(3)).
var journalMatch = regexp.MustCompile(`(?s)^([A-Z0-9_]+)=(.*)$`)

// parseMatches reads conditions FIELD=value, with "+" between groups of them.
func parseMatches(texts []string) (matches, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	all := matches{{}}
	for _, text := range texts {
		group := all[len(all)-1]
		parts := journalMatch.FindStringSubmatch(text)
		switch {
		case parts != nil:
			group[parts[1]] = append(group[parts[1]], parts[2])
		case text == "+" && len(group) > 0:
			all = append(all, matchGroup{})
		case text == "+":
			return nil, fmt.Errorf("no match before a %q", text)
		default:
			return nil, fmt.Errorf("match %q is not FIELD=value", text)
		}
	}
	if len(all[len(all)-1]) == 0 {
		return nil, fmt.Errorf("no match after the last %q", "+")
	}
	return all, nil
}

func (m matches) accept(f fields) bool {
	return m == nil || slices.ContainsFunc(m, func(g matchGroup) bool { return g.accept(f) })
}

func (g matchGroup) accept(f fields) bool {
	for name, accepted := range g {
		has := func(value string) bool { return slices.Contains(f[name], value) }
		if !slices.ContainsFunc(accepted, has) {
			return false
		}
	}
	return true
}

// aboutUnit returns the matches for what a unit logged and for what others logged about
// it. They are those of journalctl --unit (logs-show.c, add_matches_for_unit), with one
// difference. journalctl takes an entry with UNIT= from PID 1 alone. But the processes in
// which systemd prepares a service or opens a socket also log why they fail, and often
// end before journald finds out which unit they belong to.
func aboutUnit(unit string) []string {
	about := []string{
		"_SYSTEMD_UNIT=" + unit,
		"+", "UNIT=" + unit,
		"+", "OBJECT_SYSTEMD_UNIT=" + unit, "_UID=0",
		"+", "COREDUMP_UNIT=" + unit, "_UID=0",
	}
	if strings.HasSuffix(unit, ".slice") {
		about = append(about, "+", "_SYSTEMD_SLICE="+unit)
	}
	return about
}

// aboutUserUnit returns the matches for a unit of a user manager. They are those of
// journalctl --user-unit (logs-show.c, add_matches_for_user_unit).
func aboutUserUnit(unit string, uid uint32) []string {
	of := fmt.Sprintf("_UID=%d", uid)
	about := []string{
		"_SYSTEMD_USER_UNIT=" + unit, of,
		"+", "USER_UNIT=" + unit, of,
		"+", "OBJECT_SYSTEMD_USER_UNIT=" + unit, of, "_UID=0",
		"+", "COREDUMP_USER_UNIT=" + unit, of, "_UID=0",
	}
	if strings.HasSuffix(unit, ".slice") {
		about = append(about, "+", "_SYSTEMD_USER_SLICE="+unit, of)
	}
	return about
}

// isAfter reports whether the entry at a cursor comes after the entry at another cursor.
// journalctl begins at the other or, if that is not selected, after it. So an entry of
// another sequence comes after it, too.
func isAfter(cursor, other string) bool {
	sequence, number, ok := cursorPlace(cursor)
	otherSequence, otherNumber, otherOK := cursorPlace(other)
	if !ok || !otherOK || sequence != otherSequence {
		return cursor != other
	}
	return number > otherNumber
}

// cursorPlace returns the sequence that an entry is part of and its number there. The
// text of a cursor is documented as opaque, so the caller does without the place if there
// is none.
func cursorPlace(cursor string) (sequence string, number uint64, ok bool) {
	for part := range strings.SplitSeq(cursor, ";") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "s":
			sequence = value
		case "i":
			n, err := strconv.ParseUint(value, 16, 64)
			number, ok = n, err == nil
		}
	}
	return sequence, number, ok && sequence != ""
}
