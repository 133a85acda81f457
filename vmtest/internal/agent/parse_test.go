package agent

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

func TestParseStat(t *testing.T) {
	state, parent, session := parseStat([]byte("123 (a) b (c\n) S 7 123 99 0 -1 4194560\n"))
	assert.Equal(t, byte('S'), state)
	assert.Equal(t, 7, parent)
	assert.Equal(t, 99, session)
	state, _, _ = stat(os.Getpid())
	assert.Equal(t, byte('R'), state)
	for _, text := range []string{"", "123 (a)", "123 (a) S 7 123", ")"} {
		state, _, _ := parseStat([]byte(text))
		assert.Zero(t, state, text)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("123 (a) b (c\n) S 7 123 99 0 -1 4194560\n"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, text []byte) { parseStat(text) })
}

// FuzzCommand parses the payload of a request for a command, as the host sends it.
func FuzzCommand(f *testing.F) {
	f.Add(ssh.Marshal(wire.Argv{Args: wire.Pack([]string{"sh", "-c", "a b"}), Env: wire.Pack([]string{"A=b"}), Dir: "/tmp", Stdin: true}))
	f.Add(ssh.Marshal(wire.Argv{Args: "\x00\x00\x00\x09a"}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		var argv wire.Argv
		if ssh.Unmarshal(payload, &argv) != nil {
			return
		}
		cmd, err := newCommand(argv, []string{"B=c"})
		if err != nil {
			return
		}
		if len(cmd.Args) == 0 || cmd.Dir == "" || !cmd.SysProcAttr.Setsid {
			t.Errorf("%q: %+v", payload, cmd)
		}
		if got := wire.Pack(cmd.Args); got != argv.Args {
			t.Errorf("arguments %q became %q", argv.Args, got)
		}
		if !strings.Contains(strings.Join(cmd.Env, "\x00"), "B=c") {
			t.Errorf("environment %q", cmd.Env)
		}
	})
}
