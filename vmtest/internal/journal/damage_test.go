package journal

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
)

// half returns a damaged entry without its end: a line of it is no field.
func half(n int) string { return "__CURSOR=" + c(n) + "\nA=1\n=rubbish\n" }

// A stream that ends in what is no field says so.
func TestEndInDamage(t *testing.T) {
	for name, end := range map[string]func(*Store){
		"the end":        func(s *Store) { s.End(io.EOF) },
		"another stream": (*Store).Begin,
		"both":           func(s *Store) { s.Begin(); s.End(io.EOF) },
	} {
		for stream, rubbish := range map[string]string{"rubbish": "=rubbish\n", "an entry": half(2)} {
			s := of(t, 1)
			write(t, s, rubbish)
			assert.Empty(t, s.Losses(0))
			end(s)
			assert.Equal(t, []string{"an entry was dropped: a field has no name"}, s.Losses(0), "%s, %s", name, stream)
		}
	}
}

// An entry that another stream brings whole is no loss.
func TestDamageThatIsRepeated(t *testing.T) {
	s := of(t, 1)
	write(t, s, half(2))
	s.Begin()
	put(t, s, 2, 3)
	assert.Equal(t, "m1 m2 m3", all(t, s))
	assert.Empty(t, s.Losses(0))

	s = of(t, 1)
	write(t, s, half(2))
	s.Begin()
	put(t, s, 3)
	fillWith(t, s, 2)
	assert.Equal(t, "m1 m2 m3", all(t, s))
	assert.Empty(t, s.Losses(0))
}
