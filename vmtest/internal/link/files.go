package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// Files writes files in the guest for an owner.
type Files struct {
	client *Client
	owner  *Owner
}

// Owner is whom files and directories in the guest belong to.
type Owner struct{ UID, GID int }

// Files returns what writes files that belong to owner, who may write to the directories that
// are made. Files of a nil owner belong to the agent's user, which is root. Symbolic links
// always do.
func (c *Client) Files(owner *Owner) Files { return Files{c, owner} }

// CopyIn is Files.CopyIn for root.
func (c *Client) CopyIn(ctx context.Context, hostPath, guestPath string) error {
	return c.Files(nil).CopyIn(ctx, hostPath, guestPath)
}

// CopyFS is Files.CopyFS for root.
func (c *Client) CopyFS(ctx context.Context, fsys fs.FS, guestDir string) error {
	return c.Files(nil).CopyFS(ctx, fsys, guestDir)
}

// WriteFile is Files.WriteFile for root.
func (c *Client) WriteFile(ctx context.Context, guestPath string, data []byte, mode fs.FileMode) error {
	return c.Files(nil).WriteFile(ctx, guestPath, data, mode)
}

// Remove removes a file of the guest. One that does not exist is an fs.ErrNotExist.
func (c *Client) Remove(ctx context.Context, guestPath string) error {
	return c.transfer(ctx, func(s *session) error {
		if err := s.Remove(guestPath); err != nil {
			return fmt.Errorf("remove %s of the guest: %w", guestPath, err)
		}
		return nil
	})
}

// transfer is Client.transfer with the owner.
func (f Files) transfer(ctx context.Context, fn func(*session) error) error {
	return f.client.transfer(ctx, func(s *session) error {
		s.owner = f.owner
		return fn(s)
	})
}

// mkdir makes a directory for the owner.
func (s *session) mkdir(dir string) error {
	if err := s.Mkdir(dir); err != nil || s.owner == nil {
		return err
	}
	return s.Chown(dir, s.owner.UID, s.owner.GID)
}

// makeParent makes the missing directories above guestPath for the owner. The agent's umask
// makes their mode 0755.
func makeParent(s *session, guestPath string) error {
	var missing []string
	for dir := path.Dir(guestPath); ; dir = path.Dir(dir) {
		if _, err := s.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			break // another error is that of the write
		}
		missing = append(missing, dir)
	}
	for _, dir := range slices.Backward(missing) {
		if err := s.err(); err != nil {
			return err
		}
		if err := s.mkdir(dir); err != nil {
			if info, statErr := s.Stat(dir); statErr == nil && info.IsDir() {
				continue // another copy has made it
			}
			return fmt.Errorf("make directory %s of the guest: %w", dir, err)
		}
	}
	return nil
}
