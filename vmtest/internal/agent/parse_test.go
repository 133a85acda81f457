package agent

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

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
		cmd, err := newCommand(argv, baseEnv(nil), []string{"B=c"})
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
