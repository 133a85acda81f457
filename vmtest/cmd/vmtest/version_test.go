package main

import (
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestVersionOf(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.1", Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "amd64"}}}
	assert.Equal(t, "(devel), go1.26.1 linux/amd64", versionOf(info), "without a version")
	info.Main.Version = "v1.2.0"
	assert.Equal(t, "1.2.0, go1.26.1 linux/amd64", versionOf(info), "of a module")
	info.Settings = append(info.Settings, debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123"})
	assert.Equal(t, "1.2.0 (commit 0123456789ab), go1.26.1 linux/amd64", versionOf(info), "of a clone")
	info.Main.Version = "v0.0.0-20260102030405-0123456789ab"
	assert.Equal(t, "0.0.0-20260102030405-0123456789ab, go1.26.1 linux/amd64", versionOf(info), "which has the commit already")
}

// The manual pages have the date of the commit, and never that of the day.
func TestPagesDate(t *testing.T) {
	commit := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.time", Value: "2025-03-04T05:06:07Z"}}}
	assert.Equal(t, "Mar 2025", pagesDate(commit).Format("Jan 2006"))
	for _, info := range []*debug.BuildInfo{nil, {}} {
		assert.Equal(t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), pagesDate(info), "without a commit")
	}
}
