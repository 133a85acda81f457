package vmtest

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestUnitsToEnableHaveNames(t *testing.T) {
	m := new(Machine) // nothing is asked of it
	for want, units := range map[string][]string{
		`no units`: nil,
		`unit name "demo" has no type such as .service (systemd.unit(5))`:  {"a.service", "demo"},
		`unit name "--now" has no type such as .service (systemd.unit(5))`: {"--now"},
		`unit name "demo*.service" is a pattern`:                           {"demo*.service"},
		`unit name "units/demo.service" is a path`:                         {"units/demo.service"},
	} {
		_, err := m.EnableNow(t.Context(), units...)
		assert.EqualError(t, err, "enable: "+want)
		_, err = m.Enable(t.Context(), units...)
		assert.EqualError(t, err, "enable: "+want)
		_, err = m.Disable(t.Context(), units...)
		assert.EqualError(t, err, "disable: "+want)
	}
}

// A template has no unit of its own to start.
func TestATemplateIsNotStarted(t *testing.T) {
	_, err := new(Machine).EnableNow(t.Context(), "a.service", "/run/demo@.service")
	assert.EqualError(t, err, "enable /run/demo@.service: a template cannot be started; name an instance, or use Enable")
}
