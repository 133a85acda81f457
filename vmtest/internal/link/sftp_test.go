package link_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"net"
	"path/filepath"
	"testing"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// serveSessions answers the request for a subsystem on the nth session channel with
// the nth function. The returned channel has the number of each session that ended.
func serveSessions(t *testing.T, answers ...func(ssh.Channel, *ssh.Request)) (*link.Client, <-chan int) {
	t.Helper()
	checkLeaks(t)
	host, port := socketPair(t)
	closed := make(chan int, len(answers))
	go serveChannels(t, port, func(n int, channel ssh.NewChannel) {
		ch, requests, err := channel.Accept()
		if !assert.NoError(t, err) {
			return
		}
		answers[n](ch, <-requests)
		for range requests {
		}
		closed <- n
	})
	client, err := link.Dial(testContext(t), host)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	return client, closed
}

// serveChannels is an SSH server without an agent.
func serveChannels(t *testing.T, port net.Conn, serve func(int, ssh.NewChannel)) {
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromSigner(key)
	require.NoError(t, err)
	config := &ssh.ServerConfig{Config: wire.Algorithms(), NoClientAuth: true, ServerVersion: wire.Version}
	config.AddHostKey(signer)
	conn, channels, requests, err := ssh.NewServerConn(port, config)
	if !assert.NoError(t, err) {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	n := 0
	for channel := range channels {
		go serve(n, channel)
		n++
	}
}

// serveSFTP serves files until the client leaves.
func serveSFTP(ch ssh.Channel, req *ssh.Request) {
	_ = req.Reply(true, nil)
	if server, err := sftp.NewServer(ch); err == nil {
		_ = server.Serve()
	}
	ch.Close()
}

func TestSFTPDoesNotStart(t *testing.T) {
	refuse := func(_ ssh.Channel, req *ssh.Request) { _ = req.Reply(false, nil) }
	rubbish := func(ch ssh.Channel, req *ssh.Request) {
		_ = req.Reply(true, nil)
		_, _ = ch.Write([]byte("\x00\x00\x00\x05rubbish"))
	}
	leave := func(ch ssh.Channel, _ *ssh.Request) { ch.Close() }
	client, closed := serveSessions(t, refuse, rubbish, leave, serveSFTP)
	path := filepath.Join(t.TempDir(), "file")
	for n, text := range []string{"refused the sftp subsystem", "error receiving version packet", "EOF"} {
		err := client.WriteFile(testContext(t), path, nil, 0o644)
		assert.ErrorContains(t, err, "open sftp: ")
		assert.ErrorContains(t, err, text)
		assert.Equal(t, n, receive(t, "close of a channel", closed))
	}
	require.NoError(t, client.WriteFile(testContext(t), path, nil, 0o644), "the link must survive")
}

func TestSFTPSessionEnds(t *testing.T) {
	answerOnce := func(ch ssh.Channel, req *ssh.Request) {
		_ = req.Reply(true, nil)
		version := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 5, 2}, 3) // SSH_FXP_VERSION 3
		_, _ = ch.Write(version)
		_, _ = ch.Read(make([]byte, 9)) // SSH_FXP_INIT
		_, _ = ch.Read(make([]byte, 1)) // of the first request
		ch.Close()
	}
	client, _ := serveSessions(t, answerOnce, serveSFTP)
	path := filepath.Join(t.TempDir(), "file")
	require.ErrorIs(t, client.WriteFile(testContext(t), path, nil, 0o644), sftp.ErrSSHFxConnectionLost)
	require.NoError(t, client.WriteFile(testContext(t), path, nil, 0o644), "another session must be opened")
}
