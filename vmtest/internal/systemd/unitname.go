package systemd

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// UnitTypes are the suffixes of units' names (systemd.unit(5)).
var UnitTypes = []string{
	".automount", ".device", ".mount", ".path", ".scope", ".service",
	".slice", ".socket", ".swap", ".target", ".timer",
}

// unitNameMax is the most bytes of a unit's name (systemd's UNIT_NAME_MAX).
const unitNameMax = 255

// pathMax is the most bytes of a path (PATH_MAX of limits.h, with its NUL).
const pathMax = 4095

// NameError reports that a text is not the full name of a unit.
type NameError struct {
	Name  string
	fault string
}

func (e *NameError) Error() string { return e.fault }

// CheckUnitName returns a *NameError if name is not the full name of a unit. systemctl and
// journalctl complete a name without a type, and take * ? [ as a pattern, so that they
// would answer for another unit or for several.
func CheckUnitName(name string) error {
	if fault := nameFault(name); fault != "" {
		return &NameError{name, fault}
	}
	return nil
}

// nameFault returns why name is not the full name of a unit, or "".
func nameFault(name string) string {
	kind := path.Ext(name)
	prefix := strings.TrimSuffix(name, kind)
	switch {
	case name == "":
		return "unit name is empty"
	case len(name) > unitNameMax:
		return fmt.Sprintf("unit name %.40q... has more than %d bytes", name, unitNameMax)
	case strings.ContainsAny(name, "*?["):
		return fmt.Sprintf("unit name %q is a pattern", name)
	case strings.Contains(name, "/"):
		return fmt.Sprintf("unit name %q is a path", name)
	case !slices.Contains(UnitTypes, kind):
		return fmt.Sprintf("unit name %q has no type such as .service (systemd.unit(5))", name)
	case prefix == "" || prefix[0] == '@':
		return fmt.Sprintf("unit name %q has nothing before its type", name)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !inUnitName(r) }); i >= 0 {
		return fmt.Sprintf("unit name %q has a character that names cannot have: %q; see systemd-escape(1)", name, []rune(name[i:])[0])
	}
	return ""
}

// inUnitName reports whether names of units may have r (systemd's unit-name.c).
func inUnitName(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || strings.ContainsRune(`:-_.\@`, r)
}

// CheckUnitOrPath returns an error if unit is neither the full name of a unit nor an
// absolute path of a unit file.
func CheckUnitOrPath(unit string) error {
	if !path.IsAbs(unit) {
		return CheckUnitName(unit)
	}
	if len(unit) > pathMax || strings.Contains(unit, "\x00") || !utf8.ValidString(unit) {
		return &NameError{unit, fmt.Sprintf("%.100q is not the path of a unit file: it has a NUL, is not UTF-8, or has more than %d bytes", unit, pathMax)}
	}
	return CheckUnitName(path.Base(unit))
}
