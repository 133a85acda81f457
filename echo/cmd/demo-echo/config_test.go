package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf")
	for _, test := range []struct {
		text    string
		want    int
		wantErr string
	}{
		{text: "", want: 0},
		{text: "# a comment\n\n max-connections=8 \n", want: 8},
		{text: "max-connections=1\nmax-connections=2", want: 2},
		{text: "\nmax-conections=8\n", wantErr: `conf:2: unknown name "max-conections"`},
		{text: "max-connections=many", wantErr: `conf:1: max-connections="many" is not a number from 0 on`},
		{text: "max-connections=-1", wantErr: "is not a number from 0 on"},
		{text: "max-connections", wantErr: "is not a number from 0 on"},
	} {
		require.NoError(t, os.WriteFile(path, []byte(test.text), 0o600))
		got, err := readConfig(path)
		if test.wantErr != "" {
			assert.ErrorContains(t, err, test.wantErr, test.text)
			continue
		}
		require.NoError(t, err, test.text)
		assert.Equal(t, test.want, got, test.text)
	}
	_, err := readConfig(path + ".absent")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestConfigThatCannotBeRead(t *testing.T) {
	file, _ := listener(t, "tcp", "127.0.0.1:0")
	p := activated(t, "echo", []*os.File{file}, nil, "--config=/nonexistent")
	assert.Equal(t, 1, p.wait(t))
	assert.Contains(t, p.stderr.String(), `msg="cannot start" event=error error="read configuration: open /nonexistent`)
}

// The file counts at the start and after a SIGHUP, for clients that wait as well.
func TestHangupReadsTheConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf")
	require.NoError(t, os.WriteFile(path, []byte("max-connections=1\n"), 0o600))
	file, addr := listener(t, "tcp", "127.0.0.1:0")
	p := activated(t, "echo", []*os.File{file}, nil, "--config="+path)
	first := dial(t, "tcp", addr)
	ping(t, first)
	require.NoError(t, os.WriteFile(path, []byte("max-connections=2\n"), 0o600))
	p.signal(t, syscall.SIGHUP)
	second := dial(t, "tcp", addr)
	ping(t, second)
	ping(t, first)
	roundTrip(t, second, "")
	roundTrip(t, first, "")
	p.signal(t, syscall.SIGTERM)
	assert.Equal(t, 0, p.wait(t))
	assert.Contains(t, p.stderr.String(), "event=full listener=echo connections=1")
	assert.Contains(t, p.stderr.String(), "msg=reloaded event=reload max_connections=2")
}
