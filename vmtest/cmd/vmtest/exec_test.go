package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

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
