package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every fault still fits the module, and so does the test that it names.
func TestFaultsApply(t *testing.T) {
	const root = "../.."
	faults, err := load(".")
	require.NoError(t, err)
	for _, f := range faults {
		_, err := f.apply(os.DirFS(root))
		assert.NoError(t, err)
		tests, err := filepath.Glob(filepath.Join(root, f.Package, "*_test.go"))
		require.NoError(t, err)
		name := regexp.MustCompile(`^\^(Test\w+)\$(/|$)`).FindStringSubmatch(f.Test)
		if !assert.NotNil(t, name, "%s: %s must begin with ^TestNAME$", f.Name, f.Test) {
			continue
		}
		found := false
		for _, file := range tests {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			found = found || strings.Contains(string(text), "\nfunc "+name[1]+"(t *testing.T)")
		}
		assert.True(t, found, "%s: %s has no test %s", f.Name, f.Package, name[1])
	}
}

const example = `The first line is wrong.
test: ./some ^TestLines$
message: line \d
--- file
 head
-one
+eins

-two
+zwei
+drei
--- other
-gone
`

func TestApply(t *testing.T) {
	f, err := parse(example)
	require.NoError(t, err)
	assert.Equal(t, "The first line is wrong.", f.What)
	assert.Equal(t, []string{"./some", "^TestLines$", `line \d`}, []string{f.Package, f.Test, f.Message.String()})
	for name, test := range map[string]struct {
		file  string
		want  string
		stale string
	}{
		"fits":         {file: "head\none\nhead\ntwo\n", want: "head\neins\nhead\nzwei\ndrei\n"},
		"lines gone":   {file: "head\ntwo\n", stale: "file has these lines 0 times, not once:\nhead\none"},
		"lines twice":  {file: "head\none\ntwo\ntwo\n", stale: "file has these lines 2 times, not once:\ntwo"},
		"part of line": {file: "head\none\ntwo too\n", stale: "file has these lines 0 times, not once:\ntwo"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := f.apply(fstest.MapFS{"file": {Data: []byte(test.file)}, "other": {Data: []byte("gone\nstays\n")}})
			if test.stale != "" {
				require.ErrorIs(t, err, errStale)
				assert.ErrorContains(t, err, test.stale)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, map[string]string{"file": test.want, "other": "stays\n"}, got)
		})
	}
	_, err = f.apply(fstest.MapFS{})
	assert.ErrorIs(t, err, errStale, "without the file")
}

func TestBadFaults(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(example, old, new, 1) }
	for name, test := range map[string]struct{ text, want string }{
		"empty":             {"", `want a line "..."`},
		"no test":           {replace("test: ", ""), `want a line "test: ..."`},
		"no regexp of test": {replace(" ^TestLines$", ""), "want a package and a regular expression"},
		"no message":        {replace(`message: line \d`, "message: "), `want a line "message: ..."`},
		"bad message":       {replace(`\d`, "("), "message: error parsing regexp"},
		"no file":           {replace("--- file\n", ""), `want "--- FILE" before " head"`},
		"file outside":      {replace("--- file", "--- ../file"), "../file is not a file of the module"},
		"no mark":           {replace("-one", "one"), `want " ", "-" or "+" before "one"`},
		"no change":         {example[:strings.Index(example, "---")], "there is no change"},
		"nothing replaced":  {replace("-two\n", ""), "a block for file replaces no line"},
		"the same":          {replace("-gone", " gone"), "a block for other replaces no line"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(test.text)
			assert.ErrorContains(t, err, test.want)
		})
	}
}
