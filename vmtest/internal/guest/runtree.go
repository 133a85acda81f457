package guest

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// fillRun puts the agent and RunTree under /run. systemd keeps a /run that is mounted
// when it starts.
func (i initrd) fillRun() error {
	if err := i.makeDir("agent's directory", filepath.Dir(AgentPath)); err != nil {
		return err
	}
	if err := copyFile(i.path(initPath), i.path(AgentPath), 0o755); err != nil {
		return err
	}
	if err := copyTree(i.path(RunTree), i.path("/run")); err != nil {
		return fmt.Errorf("fill /run: %w", err)
	}
	return nil
}

// copyTree copies directories, links and files, without their modes.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		default:
			info, err := d.Info()
			if err != nil {
				return err
			}
			return copyFile(path, target, info.Mode().Perm())
		}
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy file: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	_, err = io.Copy(out, in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	return nil
}
