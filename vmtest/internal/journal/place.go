package journal

import (
	"strconv"
	"strings"
)

// Place is where an entry stands: journald numbers the entries of a sequence, and goes on
// with it when it is started again and when it rotates its files.
type Place struct {
	Sequence string `json:"sequence"` // an ID
	Number   uint64 `json:"number"`   // from 1 on
}

// maxCursor is the most bytes of a cursor. systemd's have less than 200.
const maxCursor = 1 << 10

// placeOf returns the place of the entry at a cursor of at most maxCursor bytes. The
// text of a cursor is documented as opaque, and has been the same in all of systemd's versions.
func placeOf(cursor string) (p Place, ok bool) {
	if len(cursor) > maxCursor {
		return Place{}, false
	}
	for part := range strings.SplitSeq(cursor, ";") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "s":
			p.Sequence = value
		case "i":
			n, err := strconv.ParseUint(value, 16, 64)
			p.Number, ok = n, err == nil
		}
	}
	return p, ok && p.Sequence != ""
}
