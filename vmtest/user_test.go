package vmtest

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/internal/passwd"
)

func TestUserCheck(t *testing.T) {
	good := User{Name: "alice", Groups: []string{"tty"}, Home: "/home/a b", Shell: "/bin/sh"}
	assert.NoError(t, good.check())
	for want, change := range map[string]func(*User){
		`the name "" is not`:              func(u *User) { u.Name = "" },
		`the name "a b" is not`:           func(u *User) { u.Name = "a b" },
		`the name "1000" is not`:          func(u *User) { u.Name = "1000" },
		`the name "x\ny" is not`:          func(u *User) { u.Groups = []string{"x\ny"} },
		`"home" is not an absolute path`:  func(u *User) { u.Home = "home" },
		`"/a:b" is not an absolute path`:  func(u *User) { u.Home = "/a:b" },
		`"/\"" is not an absolute path`:   func(u *User) { u.Shell = `/"` },
		`"/a\nb" is not an absolute path`: func(u *User) { u.Shell = "/a\nb" },
		"UID -1 is not from 1":            func(u *User) { u.UID = -1 },
		"UID 4294967295 is not from 1":    func(u *User) { u.UID = 1<<32 - 1 },
	} {
		u := good
		change(&u)
		assert.ErrorContains(t, u.check(), want)
	}
}

func TestUserSysusersArgs(t *testing.T) {
	u := User{Name: "alice", UID: 1000, Groups: []string{"tty", "demo"}, Home: "/home/100 %", Shell: "/bin/sh"}
	assert.Equal(t, []string{"--inline", `u alice 1000 "" "/home/100 %%" "/bin/sh"`, "m alice tty", "m alice demo"}, u.sysusersArgs())
}

func TestFreeID(t *testing.T) {
	assert.Equal(t, 1000, freeID(nil, nil))
	assert.Equal(t, 1003, freeID([]passwd.User{{UID: 1000}, {UID: 1002}, {UID: 65534}}, []uint32{1001}))
}
