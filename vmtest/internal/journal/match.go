package journal

import (
	"fmt"
	"regexp"
	"slices"
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

func (m matches) accept(e Entry) bool {
	return m == nil || slices.ContainsFunc(m, func(g matchGroup) bool { return g.accept(e) })
}

func (g matchGroup) accept(e Entry) bool {
	for name, accepted := range g {
		has := func(value []byte) bool {
			return slices.ContainsFunc(accepted, func(want string) bool { return want == string(value) || isInstance(want, string(value)) })
		}
		if !slices.ContainsFunc(e.Fields[name], has) {
			return false
		}
	}
	return true
}

// isInstance reports whether unit is an instance of a template, such as echo@1.service of
// echo@.service (systemd.unit(5)).
func isInstance(template, unit string) bool {
	prefix, suffix, ok := strings.Cut(template, "@.")
	return ok && strings.HasPrefix(unit, prefix+"@") && strings.HasSuffix(unit, "."+suffix)
}

// byUnit returns the matches for what a unit of the system logged.
func byUnit(unit string) matches {
	by := matches{{"_SYSTEMD_UNIT": {unit}}}
	if strings.HasSuffix(unit, ".slice") {
		by = append(by, matchGroup{"_SYSTEMD_SLICE": {unit}})
	}
	return by
}

// aboutUnit returns the matches for what others logged about a unit of the system. With
// those of byUnit they are those of journalctl --unit (logs-show.c, add_matches_for_unit),
// with one difference. journalctl takes an entry with UNIT= from PID 1 alone. But the
// processes in which systemd prepares a service or opens a socket also log why they fail,
// and often end before journald finds out which unit they belong to.
func aboutUnit(unit string) matches {
	return matches{
		{"UNIT": {unit}},
		{"OBJECT_SYSTEMD_UNIT": {unit}, "_UID": {"0"}},
		{"COREDUMP_UNIT": {unit}, "_UID": {"0"}},
	}
}

// byUserUnit and aboutUserUnit are byUnit and aboutUnit for a unit of a user manager, as
// journalctl --user-unit (logs-show.c, add_matches_for_user_unit).
func byUserUnit(unit string, uid uint32) matches {
	of := []string{fmt.Sprint(uid)}
	by := matches{{"_SYSTEMD_USER_UNIT": {unit}, "_UID": of}}
	if strings.HasSuffix(unit, ".slice") {
		by = append(by, matchGroup{"_SYSTEMD_USER_SLICE": {unit}, "_UID": of})
	}
	return by
}

func aboutUserUnit(unit string, uid uint32) matches {
	user := fmt.Sprint(uid)
	return matches{
		{"USER_UNIT": {unit}, "_UID": {user}},
		{"OBJECT_SYSTEMD_USER_UNIT": {unit}, "_UID": {user, "0"}},
		{"COREDUMP_USER_UNIT": {unit}, "_UID": {user, "0"}},
	}
}
