package journal

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"strings"
)

// torn reports whether fields of the entry are missing, as journalctl leaves out those of a file
// that is removed while it is read. The cursor says so: its "x" is the XOR of the hashes of all
// fields (xor_hash of https://systemd.io/JOURNAL_FILE_FORMAT).
func (e Entry) torn() bool {
	_, x, _ := strings.Cut(e.Cursor, ";x=")
	want, err := strconv.ParseUint(x, 16, 64)
	if err != nil {
		return false // no journald wrote it
	}
	var hashes []uint64
	for name, values := range e.Fields {
		if strings.HasPrefix(name, "__") {
			continue // of journalctl
		}
		for _, value := range values {
			h := jenkinsHash(append([]byte(name+"="), value...))
			hashes, want = append(hashes, h), want^h
		}
	}
	return want != 0 && !doubled(want, hashes)
}

// doubled reports whether x is the XOR of some of the hashes. A field that was logged twice with
// one value is kept once, and counted twice. That of a missing field is such an XOR by chance
// alone, which is rare in an entry of less than 60 fields.
func doubled(x uint64, hashes []uint64) bool {
	var basis [64]uint64 // of the hashes, by the highest bit
	reduce := func(h uint64) uint64 {
		for h != 0 && basis[bits.Len64(h)-1] != 0 {
			h ^= basis[bits.Len64(h)-1]
		}
		return h
	}
	for _, h := range hashes {
		if h = reduce(h); h != 0 {
			basis[bits.Len64(h)-1] = h
		}
	}
	return reduce(x) == 0
}

// jenkinsHash is the hash of fields in the journal: hashlittle2 of Bob Jenkins' lookup3
// (https://burtleburtle.net/bob/c/lookup3.c), its two results in one number.
func jenkinsHash(data []byte) uint64 {
	a := 0xdeadbeef + uint32(len(data))
	b, c := a, a
	for len(data) > 12 {
		a += binary.LittleEndian.Uint32(data)
		b += binary.LittleEndian.Uint32(data[4:])
		c += binary.LittleEndian.Uint32(data[8:])
		data = data[12:]
		a, c = jenkinsMix(a, c, 4), c+b
		b, a = jenkinsMix(b, a, 6), a+c
		c, b = jenkinsMix(c, b, 8), b+a
		a, c = jenkinsMix(a, c, 16), c+b
		b, a = jenkinsMix(b, a, 19), a+c
		c, b = jenkinsMix(c, b, 4), b+a
	}
	if len(data) > 0 {
		var last [12]byte
		copy(last[:], data)
		a += binary.LittleEndian.Uint32(last[:])
		b += binary.LittleEndian.Uint32(last[4:])
		c += binary.LittleEndian.Uint32(last[8:])
		c = (c ^ b) - bits.RotateLeft32(b, 14)
		a = (a ^ c) - bits.RotateLeft32(c, 11)
		b = (b ^ a) - bits.RotateLeft32(a, 25)
		c = (c ^ b) - bits.RotateLeft32(b, 16)
		a = (a ^ c) - bits.RotateLeft32(c, 4)
		b = (b ^ a) - bits.RotateLeft32(a, 14)
		c = (c ^ b) - bits.RotateLeft32(b, 24)
	}
	return uint64(c)<<32 | uint64(b)
}

func jenkinsMix(to, from uint32, by int) uint32 { return (to - from) ^ bits.RotateLeft32(from, by) }
