package agent_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

func newSession(tb testing.TB, client *ssh.Client) *ssh.Session {
	tb.Helper()
	session, err := client.NewSession()
	require.NoError(tb, err)
	tb.Cleanup(func() { session.Close() })
	return session
}

func TestExec(t *testing.T) {
	client, _ := stock(t, &agent.Server{})
	session := newSession(t, client)
	require.NoError(t, session.Setenv("MINE", "a b"))
	require.NoError(t, session.Setenv("HOME", "/elsewhere"))
	session.Stdin = strings.NewReader("in")
	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr = &stdout, &stderr
	err := session.Run(`echo "$MINE $HOME $TERM $(pwd) $(cat)"; echo err >&2; exit 42`)
	var exit *ssh.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 42, exit.ExitStatus())
	assert.Equal(t, "a b /elsewhere dumb / in\n", stdout.String())
	assert.Equal(t, "err\n", stderr.String())
}

func TestShellWithoutTerminal(t *testing.T) {
	client, _ := stock(t, &agent.Server{})
	session := newSession(t, client)
	session.Stdin = strings.NewReader("echo shell\nexit 3\n")
	var stdout bytes.Buffer
	session.Stdout = &stdout
	require.NoError(t, session.Shell())
	var exit *ssh.ExitError
	require.ErrorAs(t, session.Wait(), &exit)
	assert.Equal(t, 3, exit.ExitStatus())
	assert.Equal(t, "shell\n", stdout.String())
}

func TestOneCommandPerSession(t *testing.T) {
	client, _ := stock(t, &agent.Server{})
	ch, requests, err := client.OpenChannel("session", nil)
	require.NoError(t, err)
	go ssh.DiscardRequests(requests)
	defer ch.Close()
	command := ssh.Marshal(struct{ Command string }{"exec cat"})
	for _, step := range []struct {
		name    string
		payload []byte
		ok      bool
	}{
		{"signal", ssh.Marshal(struct{ Name string }{"TERM"}), false}, // nothing runs yet
		{"subsystem", ssh.Marshal(struct{ Name string }{"netconf"}), false},
		{"exec", nil, false}, // rubbish
		{"exec", command, true},
		{"exec", command, false},
		{"shell", nil, false},
		{"subsystem", ssh.Marshal(struct{ Name string }{"sftp"}), false},
		{"window-change", nil, false},
		{"signal", ssh.Marshal(struct{ Name string }{"NONSENSE"}), false},
	} {
		ok, err := ch.SendRequest(step.name, true, step.payload)
		require.NoError(t, err)
		assert.Equal(t, step.ok, ok, step.name)
	}
}

func TestSignal(t *testing.T) {
	client, _ := stock(t, &agent.Server{})
	session := newSession(t, client)
	stdout, err := session.StdoutPipe()
	require.NoError(t, err)
	// The group gets the signal: the shell's child dies and the shell's trap runs.
	// The child prints first, so it is there when the signal comes.
	require.NoError(t, session.Start(`trap 'echo got it; exit 9' USR1; sh -c 'echo ready; exec sleep 1000'; exit 1`))
	_, err = io.ReadFull(stdout, make([]byte, len("ready\n")))
	require.NoError(t, err)
	require.NoError(t, session.Signal(ssh.SIGUSR1))
	stuck := time.AfterFunc(5*time.Second, func() { session.Close() }) // the child goes on
	defer stuck.Stop()
	rest, err := io.ReadAll(stdout)
	require.NoError(t, err)
	require.Equal(t, "got it\n", string(rest), "what the shell printed when the signal had reached its whole group")
	var exit *ssh.ExitError
	require.ErrorAs(t, session.Wait(), &exit)
	assert.Equal(t, 9, exit.ExitStatus())
}

func TestStartErrorForStockClient(t *testing.T) {
	client, _ := stock(t, &agent.Server{})
	ch, requests, err := client.OpenChannel("session", nil)
	require.NoError(t, err)
	ok, err := ch.SendRequest("argv@systemd-vmtest", true, ssh.Marshal(wire.Argv{Args: wire.Pack([]string{"/no/such"})}))
	require.NoError(t, err)
	assert.False(t, ok)
	req := <-requests
	require.NotNil(t, req)
	assert.Equal(t, "start-error@systemd-vmtest", req.Type)
	assert.JSONEq(t, `{"errno":2,"message":"fork/exec /no/such: no such file or directory"}`, string(req.Payload))
	_, open := <-requests
	assert.False(t, open, "the channel must be closed")
}

func TestSFTP(t *testing.T) {
	client, _ := stock(t, &agent.Server{})
	files, err := sftp.NewClient(client)
	require.NoError(t, err)
	dir := t.TempDir()
	file, err := files.Create(filepath.Join(dir, "file"))
	require.NoError(t, err)
	_, err = file.Write([]byte("content"))
	require.NoError(t, err)
	require.NoError(t, file.Close())
	content, err := os.ReadFile(filepath.Join(dir, "file"))
	require.NoError(t, err)
	assert.Equal(t, "content", string(content))
	require.NoError(t, files.Close())
}

// TestNothingOutlivesItsClient waits on a FIFO that the processes hold. Its reader sees
// the end when the last of them has ended.
func TestNothingOutlivesItsClient(t *testing.T) {
	for name, end := range map[string]func(*ssh.Client, *ssh.Session){
		"channel closed":    func(_ *ssh.Client, session *ssh.Session) { session.Close() },
		"connection closed": func(client *ssh.Client, _ *ssh.Session) { client.Close() },
	} {
		if t.Failed() { // the other one would wait as long
			return
		}
		t.Run(name, func(t *testing.T) {
			client, served := stock(t, &agent.Server{})
			fifo := filepath.Join(t.TempDir(), "fifo")
			require.NoError(t, syscall.Mkfifo(fifo, 0o600))
			session := newSession(t, client)
			// One of the processes is in a group of its own.
			require.NoError(t, session.Start("exec bash -c 'trap \"\" HUP TERM; exec 3>"+fifo+"; set -m; sleep 1000 & set +m; echo ready >&3; sleep 1000'"))
			held, err := os.Open(fifo)
			require.NoError(t, err)
			defer held.Close()
			require.NoError(t, held.SetReadDeadline(deadline(t)))
			_, err = io.ReadFull(held, make([]byte, len("ready\n")))
			require.NoError(t, err)
			end(client, session)
			require.NoError(t, held.SetReadDeadline(time.Now().Add(10*time.Second)))
			_, err = held.Read(make([]byte, 1))
			assert.Equal(t, io.EOF, err, "%s: processes of the client outlive it", name)
			client.Close()
			assert.NoError(t, receive(t, "end of Serve", served))
		})
	}
}

// TestSlowClientLosesNothing reads the output of a command only after the command has
// ended. By then the output fills the channel's window, the agent's buffer and half
// of the pipe, and a process that was left behind keeps the pipe open.
func TestSlowClientLosesNothing(t *testing.T) {
	agent.SetLeftoverWait(t, 0)
	client, _ := stock(t, &agent.Server{})
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	session := newSession(t, client)
	stdout, err := session.StdoutPipe()
	require.NoError(t, err)
	const size = 2<<20 + 32<<10 + 32<<10
	require.NoError(t, session.Start(fmt.Sprintf("exec 3>%s; head -c %d /dev/zero; sleep 1000 3>&- & exit 0", fifo, size)))
	held, err := os.Open(fifo)
	require.NoError(t, err)
	defer held.Close()
	_, err = held.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err, "only the shell holds the FIFO")

	n, err := io.Copy(io.Discard, stdout)
	require.NoError(t, err)
	require.NoError(t, session.Wait())
	assert.EqualValues(t, size, n, "bytes of the command's output")
}
