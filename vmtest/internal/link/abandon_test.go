package link_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link"
)

// slowFiles are files of a guest that does not answer the close of a file for a while.
type slowFiles struct {
	sftp.Handlers
	closing  chan struct{} // gets a value when a file is about to be closed
	proceed  chan struct{} // closed when the guest answers again
	commands chan string   // requests that change names
}

func newSlowFiles() *slowFiles {
	return &slowFiles{sftp.InMemHandler(), make(chan struct{}, 1), make(chan struct{}), make(chan string, 10)}
}

// serve answers a request for the sftp subsystem.
func (s *slowFiles) serve(ch ssh.Channel, req *ssh.Request) {
	_ = req.Reply(true, nil)
	_ = sftp.NewRequestServer(ch, sftp.Handlers{FileGet: s, FilePut: s, FileCmd: s, FileList: s.FileList}).Serve()
	ch.Close()
}

func (s *slowFiles) Close() error {
	s.closing <- struct{}{}
	<-s.proceed
	return nil
}

func (s *slowFiles) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	file, err := s.FileGet.Fileread(r)
	return struct {
		io.ReaderAt
		io.Closer
	}{file, s}, err
}

func (s *slowFiles) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	file, err := s.FilePut.Filewrite(r)
	return struct {
		io.WriterAt
		io.Closer
	}{file, s}, err
}

func (s *slowFiles) Filecmd(r *sftp.Request) error {
	if r.Method != "Setstat" {
		s.commands <- r.Method
	}
	return s.FileCmd.Filecmd(r)
}

// abandon ends the context of a call while the guest does not answer. It returns when the
// call has returned and the guest answers again.
func abandon(t *testing.T, files *slowFiles, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	returned := make(chan error, 1)
	go func() { returned <- call(ctx) }()
	receive(t, "close of the file", files.closing)
	cancel()
	require.ErrorIs(t, receive(t, "end of the call", returned), context.Canceled)
	close(files.proceed)
}

func TestWriteFileNamesNothingAfterItReturned(t *testing.T) {
	files := newSlowFiles()
	client, _ := serveSessions(t, files.serve)
	abandon(t, files, func(ctx context.Context) error { return client.WriteFile(ctx, "/file", []byte("x"), 0o644) })
	assert.Equal(t, "Remove", receive(t, "next command", files.commands))
}

func TestCopyOutNamesNothingAfterItReturned(t *testing.T) {
	files := newSlowFiles()
	client, _ := serveSessions(t, files.serve)
	put := sftp.NewRequest("Put", "/file")
	put.Flags = 0x1a // SSH_FXF_WRITE, SSH_FXF_CREAT and SSH_FXF_TRUNC
	w, err := files.FilePut.Filewrite(put)
	require.NoError(t, err)
	_, err = w.WriteAt([]byte("x"), 0)
	require.NoError(t, err)
	dir := t.TempDir()
	abandon(t, files, func(ctx context.Context) error { return client.CopyOut(ctx, "/file", filepath.Join(dir, "file")) })
	assert.Eventually(t, func() bool {
		left, err := os.ReadDir(dir)
		return err == nil && len(left) == 0
	}, 5*time.Second, time.Millisecond, "the incomplete file is removed, and has no other name")
}

// TestExitStatusOutOfRange has an agent that reports what no process can report.
func TestExitStatusOutOfRange(t *testing.T) {
	answer := func(ch ssh.Channel, _ *ssh.Request) {
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{256}))
		ch.Close()
	}
	client, _ := serveSessions(t, answer)
	err := client.Exec(testContext(t), link.Command{Args: []string{"true"}})
	assert.EqualError(t, err, "the agent sent exit status 256")
}
