package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestExplainNamespaces(t *testing.T) {
	ranges := fmt.Sprintf("other:1:2\n%d:100000:65536\n", os.Geteuid())
	with := func(more map[string]string) map[string]string {
		files := map[string]string{"/etc/subuid": ranges, "/etc/subgid": ranges}
		for name, content := range more {
			files[name] = content
		}
		return files
	}
	for name, tc := range map[string]struct {
		files       map[string]string
		output      string
		cause, cure string
	}{
		"a sysctl": {with(map[string]string{"/proc/sys/user/max_user_namespaces": "0\n"}), "E: failed",
			"no user namespaces for this user: E: failed", "the sysctl user.max_user_namespaces is 0"},
		"two sysctls": {with(map[string]string{"/proc/sys/kernel/unprivileged_userns_clone": "0\n",
			"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}), "E: failed",
			"no user namespaces for this user: E: failed", "the sysctl kernel.unprivileged_userns_clone is 0"},
		"no ranges": {nil, "", "no user namespaces for this user: exit status 1", "/etc/subuid"},
		"the text": {with(nil), "I: a\nE: unshare() failed: Operation not permitted",
			"no user namespaces for this user: E: unshare() failed", "/etc/subuid"},
	} {
		t.Run(name, func(t *testing.T) {
			failed := errors.New("exit status 1")
			for range 20 { // the same each time
				err := explainNamespaces(tc.output, failed, func(path string) ([]byte, error) {
					if content, ok := tc.files[path]; ok {
						return []byte(content), nil
					}
					return nil, fs.ErrNotExist
				})
				var lacks *Error
				require.ErrorAs(t, err, &lacks)
				assert.Contains(t, lacks.Cause, tc.cause)
				assert.Contains(t, lacks.Cure, tc.cure)
				assert.ErrorIs(t, err, failed)
			}
		})
	}
}

func TestExplainNamespacesOfAnotherFault(t *testing.T) {
	ranges := fmt.Appendf(nil, "%d:100000:65536\n", os.Geteuid())
	err := explainNamespaces("Can't locate Dpkg.pm in @INC\nBEGIN failed\n", errors.New("exit status 2"), func(path string) ([]byte, error) {
		if filepath.Dir(path) == "/etc" {
			return ranges, nil
		}
		return nil, fs.ErrNotExist
	})
	assert.NotErrorAs(t, err, new(*Error))
	assert.EqualError(t, err, "try user namespaces: run mmdebstrap: exit status 2:\nCan't locate Dpkg.pm in @INC\nBEGIN failed")
}

// A canceled helper ends with its children, which hold its output open.
func TestRunUnsharedEndsWithContext(t *testing.T) {
	dir := t.TempDir()
	alive := filepath.Join(dir, "alive")
	fake := "#!/bin/sh\n(exec 3>" + alive + "; sleep 1000) & wait\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mmdebstrap"), []byte(fake), 0o700))
	require.NoError(t, unix.Mkfifo(alive, 0o600))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		f, err := os.Open(alive)
		cancel()
		if err == nil {
			_, err = io.Copy(io.Discard, f) // ends when the child has ended
		}
		ended <- err
	}()
	_, err := RunUnshared(ctx, "true")
	require.Error(t, err)
	assert.NoError(t, <-ended)
}
