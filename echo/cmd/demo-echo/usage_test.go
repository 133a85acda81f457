package main

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		name   string
		args   []string
		env    []string
		status int
		stdout []string
		stderr []string
	}{
		{
			name: "no sockets", status: 2,
			stderr: []string{"no sockets passed", "a socket unit", "systemd-socket-activate", "StandardInput=socket"},
		},
		{
			name: "descriptors for another process", env: []string{"LISTEN_PID=1", "LISTEN_FDS=1"}, status: 2,
			stderr: []string{"no sockets passed: LISTEN_PID is 1, this process is "},
		},
		{name: "help", args: []string{"--help"}, stdout: []string{"Examples:", "--drain-timeout", "--idle-timeout", "--max-connections", "--config", "--store", "nc -N 127.0.0.1 9091"}},
		{name: "unknown flag", args: []string{"--port=1"}, status: 2, stderr: []string{"flag provided but not defined: -port", "see --help"}},
		{name: "argument", args: []string{"9091"}, status: 2, stderr: []string{`unexpected "9091"`}},
		{name: "no drain", args: []string{"--drain-timeout=0"}, status: 2, stderr: []string{"parse --drain-timeout: 0s is shorter than 1ms"}},
		{name: "negative idle", args: []string{"--idle-timeout=-1s"}, status: 2, stderr: []string{"parse --idle-timeout: -1s is negative"}},
		{name: "negative bound", args: []string{"--max-connections=-1"}, status: 2, stderr: []string{"parse --max-connections: -1 is negative"}},
		{name: "no duration", args: []string{"--drain-timeout=5"}, status: 2, stderr: []string{`invalid value "5"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command(binary, test.args...) // standard input is the null device
			cmd.Env = append(cmd.Environ(), test.env...)
			var stdout bytes.Buffer
			cmd.Stdout = &stdout
			p := launch(t, cmd)
			assert.Equal(t, test.status, p.wait(t))
			for _, want := range test.stdout {
				assert.Contains(t, stdout.String(), want)
			}
			for _, want := range test.stderr {
				assert.Contains(t, p.stderr.String(), want)
			}
			if test.stdout == nil {
				assert.Empty(t, stdout.String())
			}
			if test.stderr == nil {
				assert.Empty(t, p.stderr.String())
			}
		})
	}
}
