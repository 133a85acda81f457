package images

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A script that waits forever ends with the build, as does what it has started.
func TestSilenceEndsAnInstallation(t *testing.T) {
	g, err := newGroup()
	require.NoError(t, err)
	defer g.close()
	g.silence = 100 * time.Millisecond
	debs := g.command("sh", "-c", `echo "I: extracting archives" >&2; echo "Setting up demo (1.0) ..." >&2; sleep 1000 & wait`)
	_, err = g.flow(debs, g.command("cat"), t.TempDir(), epoch, &reporter{})
	var build *BuildError
	require.ErrorAs(t, err, &build)
	assert.EqualError(t, err, `run mmdebstrap: no output for 100ms after "Setting up demo (1.0) ..." `+
		"(a package's script may wait for an answer, and there is no terminal)")
	assert.Contains(t, build.Tail, "Setting up demo")
}

// What mirrors and file systems make slow is not bounded.
func TestSilenceOutsideAnInstallation(t *testing.T) {
	g, err := newGroup()
	require.NoError(t, err)
	defer g.close()
	s := newSilence(g)
	s.limit, s.end = time.Nanosecond, func() func() { panic("ended") }
	s.heard(Progress{Stage: Downloading, Text: "Get:1"})
	s.heard(Progress{Stage: Packing})
	require.NoError(t, s.stop(""))

	ended := make(chan bool)
	s.end = func() func() { close(ended); return func() {} }
	s.heard(Progress{Stage: Installing, Text: "Setting up a"})
	<-ended
	err = s.stop("Setting up a\n")
	require.ErrorAs(t, err, new(*BuildError))
}
