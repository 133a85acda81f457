package systemd

import (
	"testing"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
)

func TestConcerns(t *testing.T) {
	c := concerns("a-b@1.service")
	assert.True(t, c(&godbus.Signal{Path: "/org/freedesktop/systemd1/unit/a_2db_401_2eservice", Name: "org.freedesktop.DBus.Properties.PropertiesChanged"}))
	assert.True(t, c(&godbus.Signal{Path: "/org/freedesktop/systemd1", Name: "org.freedesktop.systemd1.Manager.UnitRemoved"}))
	assert.False(t, c(&godbus.Signal{Path: "/org/freedesktop/systemd1/unit/other_2eservice", Name: "org.freedesktop.DBus.Properties.PropertiesChanged"}))
}
