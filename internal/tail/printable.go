package tail

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escapes are the control sequences of ECMA-48: CSI, OSC up to BEL or ST, and
// those of two bytes.
var escapes = regexp.MustCompile(`\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\^_c-z])`)

// Printable makes untrusted text safe to print. It drops terminal control sequences,
// and replaces other control characters, those that reorder text (U+202E and the
// like) and invalid UTF-8 with U+FFFD. Tabs and line feeds stay.
func Printable(s string) string {
	s = escapes.ReplaceAllString(s, "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return utf8.RuneError
		}
		return r
	}, s)
}

// Head returns the beginning of an untrusted text, some most bytes, safe to print.
func Head(s string, most int) string {
	s = Printable(s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
