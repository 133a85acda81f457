package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.org/systemd-vmtest/internal/passwd"
	"example.org/systemd-vmtest/internal/tail"
)

// User is a user to add to a guest.
type User struct {
	Name   string
	UID    int      // 0 is the first free one from 1000 on
	Groups []string // supplementary groups; those that do not exist are added
	Home   string   // "" is /home/NAME
	Shell  string   // "" is /bin/sh
}

// AddUser adds a user without a password to the guest, and a group of the same name, as
// systemd-sysusers(8) does. It makes the home directory, empty and with mode 0700, unless
// there is something at its path. AddUser returns u with its zero fields set. A name or a
// UID that is taken is an error.
func (m *Machine) AddUser(ctx context.Context, u User) (User, error) {
	added, err := m.system().addUser(ctx, u)
	if err != nil {
		return User{}, fmt.Errorf("add user %s: %w", strconv.Quote(u.Name), err)
	}
	return added, nil
}

// firstUID is the first UID of ordinary users, as most distributions have it
// (login.defs(5), UID_MIN).
const firstUID = 1000

// maxUID is the highest UID (chown(2)).
const maxUID = 1<<32 - 2

func (m *Machine) addUser(ctx context.Context, u User) (User, error) {
	if u.Home == "" {
		u.Home = "/home/" + u.Name
	}
	if u.Shell == "" {
		u.Shell = "/bin/sh"
	}
	if err := u.check(); err != nil {
		return u, err
	}
	users, err := m.users(ctx)
	if err != nil {
		return u, err
	}
	if u.UID == 0 {
		groups, err := m.ReadFile(ctx, "/etc/group")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return u, err
		}
		u.UID = freeID(users, passwd.IDs(string(groups)))
	}
	for _, other := range users {
		switch {
		case other.Name == u.Name:
			return u, fmt.Errorf("there is one, with UID %d", other.UID)
		case other.UID == uint32(u.UID):
			return u, fmt.Errorf("UID %d is taken by %s", u.UID, tail.Printable(other.Name))
		}
	}
	if err := m.sysusers(ctx, u.sysusersArgs()...); err != nil {
		return u, err
	}
	if _, err := m.ReadFile(ctx, u.Home); !errors.Is(err, fs.ErrNotExist) {
		return u, nil // a directory is an error too
	}
	_, err = m.Run(ctx, "install", "-d", "-m", "0700", "-o", u.Name, "-g", u.Name, "--", u.Home)
	return u, err
}

// userName matches the names of users and groups that systemd-sysusers takes
// (systemd's docs/USER_NAMES.md, strict mode).
var userName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_-]{0,30}$`)

func (u User) check() error {
	for _, name := range append([]string{u.Name}, u.Groups...) {
		if !userName.MatchString(name) {
			return fmt.Errorf("the name %q is not of letters, digits, _ and -, at most 31", name)
		}
	}
	for _, file := range []string{u.Home, u.Shell} {
		if !path.IsAbs(file) || strings.ContainsAny(file, "\n\t:\"\\") || tail.Printable(file) != file {
			return fmt.Errorf(`%q is not an absolute path without : " and \`, file)
		}
	}
	if u.UID < 0 || u.UID > maxUID {
		return fmt.Errorf("UID %d is not from 1 to %d", u.UID, maxUID)
	}
	return nil
}

// sysusersArgs returns the arguments with which systemd-sysusers adds the user.
func (u User) sysusersArgs() []string {
	quote := func(file string) string { return `"` + strings.ReplaceAll(file, "%", "%%") + `"` }
	args := []string{"--inline", fmt.Sprintf(`u %s %d "" %s %s`, u.Name, u.UID, quote(u.Home), quote(u.Shell))}
	for _, group := range u.Groups {
		args = append(args, "m "+u.Name+" "+group)
	}
	return args
}

// freeID returns a UID for an ordinary user that is free as a GID too.
func freeID(users []passwd.User, groups []uint32) int {
	taken := func(id uint32) bool {
		return slices.Contains(groups, id) || slices.ContainsFunc(users, func(u passwd.User) bool { return u.UID == id })
	}
	id := uint32(firstUID)
	for taken(id) {
		id++
	}
	return int(id)
}

// users returns the users of the guest's /etc/passwd.
func (m *Machine) users(ctx context.Context) ([]passwd.User, error) {
	text, err := m.ReadFile(ctx, "/etc/passwd")
	if err != nil {
		return nil, err
	}
	return passwd.Users(string(text)), nil
}

// AddUser adds a user to the guest and returns it with its zero fields set, as
// Machine.AddUser.
func (g *Guest) AddUser(t testing.TB, u User) User {
	t.Helper()
	return get(t, g, func(ctx context.Context) (User, error) { return g.Machine.AddUser(ctx, u) })
}
