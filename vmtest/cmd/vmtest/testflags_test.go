package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseTestFlags(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want testFlags
	}{
		"none":       {nil, testFlags{}},
		"of go test": {[]string{"-test.paniconexit0", "-test.timeout=10m0s"}, testFlags{goTest: true, timeout: 10 * time.Minute}},
		"profiles": {
			[]string{"-test.outputdir=/out", "-test.coverprofile=/tmp/b/_cover_.out", "-test.cpuprofile=cpu.out", "-test.trace", "t.out"},
			testFlags{outputDir: "/out", files: []string{"/tmp/b/_cover_.out", "/out/cpu.out", "/out/t.out"}},
		},
		"without -test.outputdir": {[]string{"--test.memprofile=m.out"}, testFlags{files: []string{"/dir/m.out"}}},
		"directories": {
			[]string{"-test.gocoverdir=/cover", "-test.fuzzcachedir=fuzz", "-test.fuzz=Fuzz", "-test.artifacts=true", "-test.testlogfile=log"},
			testFlags{files: []string{"/dir/log"}, coverDir: "/cover", fuzzCache: "/dir/fuzz", artifacts: true, newInputs: "/dir/testdata/fuzz"},
		},
		"a switch has no value":      {[]string{"-test.v", "-test.trace=t"}, testFlags{files: []string{"/dir/t"}}},
		"of the tests' own":          {[]string{"-trace=t", "-test.trace=u"}, testFlags{files: []string{"/dir/u"}}},
		"after what is no flag":      {[]string{"word", "-test.trace=t"}, testFlags{}},
		"after --":                   {[]string{"--", "-test.trace=t"}, testFlags{}},
		"an artifacts=false is none": {[]string{"-test.artifacts=false"}, testFlags{}},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, parseTestFlags("/dir", c.args)) })
	}
}

// go test -coverpkg names files of other packages in a list.
func TestCoverageInputs(t *testing.T) {
	dir := t.TempDir()
	f := testFlags{coverDir: dir}
	paths, err := f.inputs()
	require.NoError(t, err)
	assert.Equal(t, []string{dir}, paths)
	list := filepath.Join(dir, metaFiles)
	require.NoError(t, os.WriteFile(list, []byte(`{"ImportPaths":["a","b"],"MetaFileFragments":["/a.meta",""]}`), 0o600))
	paths, err = f.inputs()
	require.NoError(t, err)
	assert.Equal(t, []string{dir, "/a.meta"}, paths)
	require.NoError(t, os.WriteFile(list, []byte(`[`), 0o600))
	_, err = f.inputs()
	assert.ErrorContains(t, err, "read metafiles.txt of go test: unexpected end of JSON input")
}
