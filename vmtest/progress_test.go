package vmtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/images"
)

func TestProgressPrinter(t *testing.T) {
	var b strings.Builder
	progress := progressPrinter(&b)
	for _, p := range []images.Progress{
		{Image: "debian-13", Stage: images.Checking},
		{Image: "debian-13", Stage: images.Checking, Notice: true, Text: "not in the cache; building it"},
		{Image: "debian-13", Stage: images.Downloading, Done: 1, Total: 90},
		{Image: "debian-13", Stage: images.Installing},
		{Image: "debian-13", Stage: images.Downloading, Done: 1, Total: 20},
		{Image: "debian-13", Stage: images.Installing},
		{Image: "debian-12", Stage: images.Installing},
		{Notice: true, Text: "waiting for a slot"},
		{Notice: true, Text: "waiting for a slot"},
	} {
		progress(p)
	}
	assert.Equal(t, `vmtest: debian-13: not in the cache; building it
vmtest: debian-13: downloading
vmtest: debian-13: installing
vmtest: debian-12: installing
vmtest: waiting for a slot
vmtest: waiting for a slot
`, b.String())
}
