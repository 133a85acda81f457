package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"example.org/systemd-vmtest/internal/passwd"
)

// setUser makes cmd run as a user, given by name or UID, with the user's groups and home
// directory. It returns what is added to the command's environment (environ(7)).
func setUser(cmd *exec.Cmd, name string) ([]string, error) {
	users, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, fmt.Errorf("look up user %q: %w", name, err)
	}
	u, err := passwd.Find(passwd.Users(string(users)), name)
	if err != nil {
		return nil, err
	}
	groups, err := os.ReadFile("/etc/group")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look up groups of user %q: %w", name, err)
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: passwd.Groups(string(groups), u)}
	if cmd.Dir == "" && checkDir(u.Home) == nil {
		cmd.Dir = u.Home
	}
	shell := u.Shell
	if shell == "" {
		shell = "/bin/sh" // passwd(5)
	}
	return []string{"HOME=" + u.Home, "USER=" + u.Name, "LOGNAME=" + u.Name, "SHELL=" + shell}, nil
}

// give makes files the property of the user that cmd runs as. A pipe must belong to the
// user that opens it again, as a shell does for "> /dev/stderr".
func give(cmd *exec.Cmd, files []*os.File) error {
	user := cmd.SysProcAttr.Credential
	if user == nil {
		return nil
	}
	for _, file := range files {
		if err := file.Chown(int(user.Uid), int(user.Gid)); err != nil {
			return fmt.Errorf("give pipe to the user: %w", err)
		}
	}
	return nil
}

// userError adds to the error of a start, which names the program alone, what else the user
// may lack access to.
func userError(cmd *exec.Cmd, err error) error {
	user := cmd.SysProcAttr.Credential
	path, ok := errors.AsType[*fs.PathError](err)
	if user == nil || !ok {
		return err
	}
	return fmt.Errorf("as UID %d in %s: %w", user.Uid, cmd.Dir, path.Err)
}
