package guest

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestInitFailure(t *testing.T) {
	for name, test := range map[string]struct {
		console []string
		cause   string
	}{
		"failed":             {[]string{"[ 0.1] Linux", InitFailed + "mount image: no such device", "Kernel panic"}, "mount image: no such device"},
		"after a prefix":     {[]string{"[ 0.1] " + InitFailed + "x"}, "x"},
		"a unit's text":      {[]string{HandOver, InitFailed + "mount image: fake"}, ""},
		"a boot that worked": {[]string{"[ 0.1] Linux", HandOver, "Welcome to Debian"}, ""},
		"no console":         {nil, ""},
	} {
		cause, failed := InitFailure(test.console)
		assert.Equal(t, test.cause, cause, name)
		assert.Equal(t, test.cause != "", failed, name)
	}
	assert.NotContains(t, HandOver, InitFailed)
}
