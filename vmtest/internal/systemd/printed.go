package systemd

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// printed returns the text that systemctl show prints for a property, if that follows from
// the type of its value and from its name. It does not for times, sizes and modes, which
// systemctl formats, and for a value of several lines.
func printed(name string, value any) (text string, ok bool) {
	switch v := value.(type) {
	case string:
		return v, !strings.Contains(v, "\n")
	case bool:
		if v {
			return "yes", true
		}
		return "no", true
	case int32: // a negative one may be "[not set]"
		return strconv.Itoa(int(v)), v >= 0
	case uint32:
		return strconv.FormatUint(uint64(v), 10), v <= math.MaxInt32 && name != "UMask" && !strings.HasSuffix(name, "Mode")
	case []string: // what is special to a shell is quoted, and an empty list may be left out
		return strings.Join(v, " "), len(v) > 0 && !slices.ContainsFunc(v, unplain)
	}
	return "", false
}

// unplain reports whether a text has other characters than the plain ones of unit names.
func unplain(text string) bool {
	const plain = "-_.:@/0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return text == "" || strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(plain, r) })
}
