// Package passwd finds users and their groups in the texts of /etc/passwd and /etc/group
// (passwd(5), group(5)).
package passwd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// User is a user of a system.
type User struct {
	Name        string
	UID, GID    uint32 // GID is of the user's own group
	Home, Shell string
}

// Users returns the users of the text of /etc/passwd. It leaves out lines that are none.
func Users(passwd string) []User {
	var users []User
	for line := range strings.Lines(passwd) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) < 7 || fields[0] == "" {
			continue
		}
		uid, err := parseID(fields[2])
		gid, gidErr := parseID(fields[3])
		if err != nil || gidErr != nil {
			continue
		}
		users = append(users, User{Name: fields[0], UID: uid, GID: gid, Home: fields[5], Shell: fields[6]})
	}
	return users
}

// Find returns the user of that name or, if there is none, of that UID in decimal.
func Find(users []User, name string) (User, error) {
	if i := slices.IndexFunc(users, func(u User) bool { return u.Name == name }); i >= 0 {
		return users[i], nil
	}
	uid, err := parseID(name)
	if err != nil {
		return User{}, fmt.Errorf("no user %q in /etc/passwd", name)
	}
	if i := slices.IndexFunc(users, func(u User) bool { return u.UID == uid }); i >= 0 {
		return users[i], nil
	}
	return User{}, fmt.Errorf("no user with UID %d in /etc/passwd", uid)
}

// Groups returns the GIDs of the groups that a user is in: its own, and those of the text
// of /etc/group that list it, as initgroups(3).
func Groups(group string, u User) []uint32 {
	gids := []uint32{u.GID}
	for line := range strings.Lines(group) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 4 || !slices.Contains(strings.Split(fields[3], ","), u.Name) {
			continue
		}
		if gid, err := parseID(fields[2]); err == nil && !slices.Contains(gids, gid) {
			gids = append(gids, gid)
		}
	}
	return gids
}

// IDs returns the GIDs of all groups of the text of /etc/group.
func IDs(group string) []uint32 {
	var gids []uint32
	for line := range strings.Lines(group) {
		fields := strings.Split(line, ":")
		if len(fields) < 3 {
			continue
		}
		if gid, err := parseID(fields[2]); err == nil {
			gids = append(gids, gid)
		}
	}
	return gids
}

// parseID parses a UID or GID. The highest number means that there is none (chown(2)).
func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err == nil && uint32(id) == ^uint32(0) {
		err = strconv.ErrRange
	}
	return uint32(id), err
}
