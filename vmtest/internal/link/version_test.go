package link_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// An agent of another version, whose payloads may have other fields, is refused in the
// handshake and not at the first command.
func TestAgentOfAnotherVersion(t *testing.T) {
	checkLeaks(t)
	host, port := socketPair(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromSigner(key)
	require.NoError(t, err)
	config := &ssh.ServerConfig{Config: wire.Algorithms(), NoClientAuth: true, ServerVersion: "SSH-2.0-older"}
	config.AddHostKey(signer)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if conn, _, _, err := ssh.NewServerConn(port, config); err == nil {
			_ = conn.Wait()
		}
	}()

	_, err = link.Dial(testContext(t), host)
	var version *link.VersionError
	require.ErrorAs(t, err, &version)
	assert.ErrorContains(t, err, `the guest's agent is of another version of systemd-vmtest: it identifies itself as SSH-2.0-older`)
	<-served
}
