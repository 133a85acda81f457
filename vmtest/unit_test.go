package vmtest

import (
	"errors"
	"testing"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
)

func TestParseShow(t *testing.T) {
	assert.Equal(t, map[string]string{
		"Listen":      "127.0.0.1:9091 (Stream)\n[::1]:9091 (Stream)",
		"ActiveState": "active",
		"Environment": "A=b=c",
		"Empty":       "",
	}, parseShow("Listen=127.0.0.1:9091 (Stream)\nListen=[::1]:9091 (Stream)\nActiveState=active\nEnvironment=A=b=c\nEmpty=\n\n"))
}

// A shell script in ExecStart= has lines that look like properties.
func TestParseShowOfSeveralLines(t *testing.T) {
	const text = "ExecStart={ argv[]=/bin/sh -c x=1\n\nSubState=running\nfoo=2 ; pid=0 }\nActiveState=active\n"
	assert.Equal(t, map[string]string{
		"ExecStart":   "{ argv[]=/bin/sh -c x=1\n\nSubState=running\nfoo=2 ; pid=0 }",
		"ActiveState": "active",
	}, parseShow(text, "ExecStart", "ActiveState"))
	assert.Equal(t, "running\nfoo=2 ; pid=0 }", parseShow(text)["SubState"], "nothing tells this from a property")
}

func TestUnitErrorSaysAll(t *testing.T) {
	err := &UnitError{
		Unit: "a.service", Want: "active", ActiveState: "failed", SubState: "failed", Result: "exit-code",
		Journal: []string{"systemd[1]: a.service: Failed"}, Err: errFailed,
	}
	assert.EqualError(t, err, "wait for a.service to be active: the unit failed; it is failed (failed), result exit-code\n  | systemd[1]: a.service: Failed")
	assert.True(t, errors.Is(err, errFailed))
}

func TestConcerns(t *testing.T) {
	c := concerns("a-b@1.service")
	assert.True(t, c(&godbus.Signal{Path: "/org/freedesktop/systemd1/unit/a_2db_401_2eservice", Name: "org.freedesktop.DBus.Properties.PropertiesChanged"}))
	assert.True(t, c(&godbus.Signal{Path: "/org/freedesktop/systemd1", Name: "org.freedesktop.systemd1.Manager.UnitRemoved"}))
	assert.False(t, c(&godbus.Signal{Path: "/org/freedesktop/systemd1/unit/other_2eservice", Name: "org.freedesktop.DBus.Properties.PropertiesChanged"}))
}
