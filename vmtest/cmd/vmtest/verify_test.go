package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

func TestVerifyReport(t *testing.T) {
	var out strings.Builder
	accept, err := systemd.NewAcceptance([]string{"KillMode=none", "never"})
	require.NoError(t, err)
	v := verification{streams: streams{out: &out}, accept: accept}
	set := unitSet{dir: "units", units: []string{"a.service"}}
	guest := images.Manifest{Name: "debian-12", SystemdVersion: "252", KernelVersion: "6.1"}
	found := []vmtest.Finding{
		{Unit: "a.service", File: "/etc/systemd/system/a.service", Line: 3, Text: "Unit uses KillMode=none."},
		{Unit: "a.service", Text: "Command /nope is not executable"},
	}
	ok, err := v.report(set, guest, found)
	require.NoError(t, err)
	assert.False(t, ok)
	ok, err = v.report(set, guest, found[:1])
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, `[FAILED] units/a.service on debian-12 (systemd 252, kernel 6.1)
a.service: Command /nope is not executable
[ok] units/a.service on debian-12 (systemd 252, kernel 6.1)
`, out.String())
	assert.EqualError(t, v.accept.Unused(), `accept "never": matches no finding`)
}

// The document has the findings that are not accepted, and an empty array without any.
func TestVerifyJSON(t *testing.T) {
	accept, err := systemd.NewAcceptance([]string{"KillMode"})
	require.NoError(t, err)
	v := verification{accept: accept, json: true}
	guest := images.Manifest{Name: "debian-13", SystemdVersion: "257.9-1", KernelVersion: "6.12"}
	found := []vmtest.Finding{{Unit: "a.service", Text: "KillMode=none"}, {File: "/etc/systemd/system/a.service", Line: 3, Text: "Unknown key 'X'"}}
	ok, err := v.report(unitSet{dir: "units", units: []string{"a.service"}, whole: true}, guest, found)
	require.NoError(t, err)
	assert.False(t, ok)
	ok, err = v.report(unitSet{dir: "more", units: []string{"b.socket"}}, guest, nil)
	require.NoError(t, err)
	assert.True(t, ok)
	var b strings.Builder
	require.NoError(t, writeJSON(&b, v.verified))
	assert.JSONEq(t, `[{"image": "debian-13", "systemdVersion": "257.9-1", "kernelVersion": "6.12", "path": "units", "units": ["a.service"],
		"findings": [{"file": "/etc/systemd/system/a.service", "line": 3, "text": "Unknown key 'X'"}]},
		{"image": "debian-13", "systemdVersion": "257.9-1", "kernelVersion": "6.12", "path": "more/b.socket", "units": ["b.socket"], "findings": []}]`,
		b.String())
}
