package systemd

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseShow(t *testing.T) {
	assert.Equal(t, map[string]string{
		"Listen":      "127.0.0.1:9091 (Stream)\n[::1]:9091 (Stream)",
		"ActiveState": "active",
		"Environment": "A=b=c",
		"Empty":       "",
	}, ParseShow("Listen=127.0.0.1:9091 (Stream)\nListen=[::1]:9091 (Stream)\nActiveState=active\nEnvironment=A=b=c\nEmpty=\n\n"))
}

// A shell script in ExecStart= has lines that look like properties.
func TestParseShowOfSeveralLines(t *testing.T) {
	const text = "ExecStart={ argv[]=/bin/sh -c x=1\n\nSubState=running\nfoo=2 ; pid=0 }\nActiveState=active\n"
	assert.Equal(t, map[string]string{
		"ExecStart":   "{ argv[]=/bin/sh -c x=1\n\nSubState=running\nfoo=2 ; pid=0 }",
		"ActiveState": "active",
	}, ParseShow(text, "ExecStart", "ActiveState"))
	assert.Equal(t, "running\nfoo=2 ; pid=0 }", ParseShow(text)["SubState"], "nothing tells this from a property")
}
