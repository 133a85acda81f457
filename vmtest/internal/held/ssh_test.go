package held_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/lack"
	"example.org/systemd-vmtest/vmtest/internal/held"
)

// TestMain is also the ProxyCommand of the tests with ssh.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "proxy" {
		if err := held.Proxy(context.Background(), os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// stock are OpenSSH's programs on this host, with a configuration for one machine.
type stock struct {
	t      *testing.T
	config string
	name   string
	limit  context.Context
}

// newStock holds a machine. Its cache has characters that a shell and ssh give a meaning.
func newStock(t *testing.T) (stock, held.Info) {
	t.Helper()
	for _, program := range []string{"ssh", "scp", "sftp"} {
		if _, err := exec.LookPath(program); err != nil {
			lack.Skip(t, "no "+program+" on PATH: install openssh-client")
		}
	}
	t.Setenv("VMTEST_CACHE", filepath.Join(t.TempDir(), "a cache's 100%h $HOME"))
	info := hold(t, newMachine(t, "TestIt"))
	config := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(config, []byte(info.SSHConfig(os.Args[0], "proxy", info.Dir)), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return stock{t, config, info.Name, ctx}, info
}

// run runs a program, and returns what it prints.
func (s stock) run(program string, args ...string) (string, error) {
	s.t.Helper()
	out, err := exec.CommandContext(s.limit, program, append([]string{"-F", s.config}, args...)...).CombinedOutput()
	return strings.ReplaceAll(string(out), "\r", ""), err
}

func TestSSH(t *testing.T) {
	s, _ := newStock(t)
	// SSH keeps no order between the two outputs.
	stdout, err := exec.CommandContext(s.limit, "ssh", "-F", s.config, s.name, "echo out; echo err >&2; exit 3").Output()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", stdout)
	assert.Equal(t, 3, exit.ExitCode())
	assert.Equal(t, "out\n", string(stdout), "nothing but the command prints")
	assert.Equal(t, "err\n", string(exit.Stderr), "nothing but the command prints")

	out, err := s.run("ssh", "-tt", s.name, "tty && stty size")
	require.NoError(t, err, "%s", out)
	assert.Regexp(t, `^/dev/pts/\d+\n\d+ \d+\n`, out)
}

func TestSCPAndSFTP(t *testing.T) {
	s, _ := newStock(t)
	host, guest := t.TempDir(), t.TempDir()
	text := strings.Repeat("0123456789", 100_000)
	require.NoError(t, os.WriteFile(host+"/file", []byte(text), 0o640))
	check := func(path string) {
		t.Helper()
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.True(t, string(got) == text, "%s has %d bytes", path, len(got))
	}
	out, err := s.run("scp", "-p", host+"/file", s.name+":"+guest+"/there")
	require.NoError(t, err, "%s", out)
	check(guest + "/there")
	out, err = s.run("scp", s.name+":"+guest+"/there", host+"/back")
	require.NoError(t, err, "%s", out)
	check(host + "/back")

	batch := filepath.Join(host, "batch")
	require.NoError(t, os.WriteFile(batch, fmt.Appendf(nil, "put %s/file %s/put\nrename %[2]s/put %[2]s/renamed\nget %[2]s/renamed %[1]s/got\nls -l %[2]s\n", host, guest), 0o600))
	out, err = s.run("sftp", "-b", batch, s.name)
	require.NoError(t, err, "%s", out)
	check(host + "/got")
	assert.Contains(t, out, "renamed")
}

// TestSSHForwards connects through ssh -W and ssh -L to a server in the guest.
func TestSSHForwards(t *testing.T) {
	s, _ := newStock(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello from the guest\n")
			conn.Close()
		}
	}()
	out, err := s.run("ssh", "-W", listener.Addr().String(), s.name)
	require.NoError(t, err, "%s", out)
	assert.Equal(t, "hello from the guest\n", out)

	here := filepath.Join(t.TempDir(), "here")
	cmd := exec.CommandContext(s.limit, "ssh", "-F", s.config, "-o", "ExitOnForwardFailure=yes", "-L", here+":"+listener.Addr().String(), s.name, "echo up; cat")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = io.ReadFull(stdout, make([]byte, len("up\n")))
	require.NoError(t, err)
	conn, err := net.Dial("unix", here)
	require.NoError(t, err)
	defer conn.Close()
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Equal(t, "hello from the guest\n", string(got))
	require.NoError(t, conn.Close()) // ssh waits for that
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait())
}

// ssh refuses an agent that has another key than the holder's.
func TestSSHChecksTheKey(t *testing.T) {
	s, info := newStock(t)
	require.NoError(t, os.WriteFile(filepath.Join(info.Dir, "known_hosts"),
		[]byte("TestIt ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH3rGGtm0FHb0rNDYPjYFMCIaSGFHfbb6sTX6XcHfRqX\n"), 0o600))
	out, err := s.run("ssh", s.name, "true")
	require.Error(t, err)
	assert.Contains(t, out, "Host key verification failed.")
}

func TestSSHConfig(t *testing.T) {
	info := held.Info{Name: "TestIt", Image: "debian-13", PID: 17, Dir: "/a 100%/machines/TestIt"}
	assert.Equal(t, `# debian-13, held by process 17
Host TestIt
	User root
	ProxyCommand '/bin/it'\''s' '/a 100%%/machines/TestIt'
	HostKeyAlias TestIt
	UserKnownHostsFile "/a 100%%/machines/TestIt/known_hosts"
	GlobalKnownHostsFile none
	StrictHostKeyChecking yes
	UpdateHostKeys no
	PreferredAuthentications none
	ForwardAgent no
	ForwardX11 no
`, info.SSHConfig("/bin/it's", info.Dir))
}
