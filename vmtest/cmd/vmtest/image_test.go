package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
)

// The images that can be built come first, then those in the cache that were imported.
func TestPrintImages(t *testing.T) {
	built := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	var b bytes.Buffer
	require.NoError(t, printImages(&b, listImages([]images.Manifest{
		{Name: "debian-12", SystemdVersion: "252.39", KernelVersion: "6.1", Built: built, Files: []images.File{{Size: 2e6}}},
		{Name: "arch", SystemdVersion: "258-1", KernelVersion: "6.17", Built: built, Imported: "tar archive"},
	})))
	var got []string
	for line := range strings.Lines(b.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	assert.Equal(t, []string{
		"NAME SYSTEMD KERNEL SIZE BUILT MADE OF",
		"debian-11 - - - not yet -",
		"debian-12 252.39 6.1 2 MB 2026-01-02 03:04:05 -",
		"debian-13 - - - not yet -",
		"debian-14 - - - not yet -",
		"arch 258-1 6.17 0 MB 2026-01-02 03:04:05 tar archive",
	}, got)
}
