package passwd_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/passwd"
)

const users = `root:x:0:0:root:/root:/bin/bash
+@netgroup
alice:x:1000:1001:Alice,,,:/home/alice:/bin/sh
bad:x:many:1:bad:/:/bin/sh
nobody:x:4294967295:1:no ID:/:/bin/sh
1000:x:1002:1002:a name of digits:/home/1000:
torn:x:5
last:x:7:7::/:`

const groups = `root:x:0:
alice:x:1001:
adm:x:4:syslog,alice
video:x:44:bob
audio:x:29:alice,bob
bad:x:many:alice
same:x:1001:alice
`

func TestFind(t *testing.T) {
	all := passwd.Users(users)
	u, err := passwd.Find(all, "alice")
	require.NoError(t, err)
	assert.Equal(t, passwd.User{Name: "alice", UID: 1000, GID: 1001, Home: "/home/alice", Shell: "/bin/sh"}, u)
	u, err = passwd.Find(all, "0")
	require.NoError(t, err)
	assert.Equal(t, "root", u.Name)
	u, err = passwd.Find(all, "1000")
	require.NoError(t, err)
	assert.EqualValues(t, 1002, u.UID, "a name comes before a UID")
	u, err = passwd.Find(all, "last")
	require.NoError(t, err)
	assert.EqualValues(t, 7, u.UID)

	for name, want := range map[string]string{
		"bob":        `no user "bob" in /etc/passwd`,
		"bad":        `no user "bad" in /etc/passwd`,
		"":           `no user "" in /etc/passwd`,
		"-1":         `no user "-1" in /etc/passwd`,
		"4242":       "no user with UID 4242 in /etc/passwd",
		"4294967295": `no user "4294967295" in /etc/passwd`,
	} {
		_, err := passwd.Find(all, name)
		assert.EqualError(t, err, want)
	}
}

func TestGroups(t *testing.T) {
	assert.Equal(t, []uint32{1001, 4, 29}, passwd.Groups(groups, passwd.User{Name: "alice", GID: 1001}))
	assert.Equal(t, []uint32{7}, passwd.Groups(groups, passwd.User{Name: "carol", GID: 7}))
	assert.Equal(t, []uint32{0, 1001, 4, 44, 29, 1001}, passwd.IDs(groups))
}

func FuzzUsers(f *testing.F) {
	f.Add(users, groups)
	f.Fuzz(func(t *testing.T, users, groups string) {
		for _, u := range passwd.Users(users) {
			if found, err := passwd.Find(passwd.Users(users), u.Name); err != nil || found.Name != u.Name {
				t.Errorf("find %q: %v, %v", u.Name, found, err)
			}
			passwd.Groups(groups, u)
		}
		passwd.IDs(groups)
	})
}
