package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The status of a program stays, and what else went wrong is printed.
func TestWithStatus(t *testing.T) {
	lost := errors.New("the disk is full")
	var text strings.Builder
	assert.Equal(t, 7, exitStatus(t.Context(), withStatus(withStatus(&statusError{status: 7}, lost, nil), errors.New("no such directory")), &text, "vmtest exec"))
	assert.Equal(t, "vmtest: the disk is full\nno such directory\n", text.String())
	assert.Equal(t, 1, exitStatus(t.Context(), withStatus(nil, lost), &text, "vmtest exec"))
	assert.NoError(t, withStatus(nil, nil))
}

// A guest gets nothing of the host's environment but what a person sets for a run.
func TestExecEnvironment(t *testing.T) {
	t.Setenv("SECRET", "secret")
	t.Setenv("GOPROXY", "https://user:password@proxy.example.com")
	t.Setenv("GODEBUG", "http2client=0")
	t.Setenv("NAMED", "one")
	for _, name := range passed {
		if name != "GODEBUG" {
			t.Setenv(name, "")
		}
	}
	e := testRun{dir: "/src/pkg", env: []string{"NAMED", "SET=two", "NOT_SET_HERE"}, flags: testFlags{coverDir: "/cover"}}
	assert.Equal(t, []string{
		"VMTEST_GUEST=debian-13", "PWD=/src/pkg", "GOCOVERDIR=/cover",
		"GODEBUG=http2client=0", "GOGC=", "GOMAXPROCS=", "GOMEMLIMIT=", "GORACE=", "GOTRACEBACK=", "NAMED=one", "SET=two",
	}, e.environment("debian-13"))
}
