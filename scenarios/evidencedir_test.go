package scenarios

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// evidenceFiles returns the files of the directory that the last line of the log names, and
// the log.
func evidenceFiles(t *testing.T, work func(*vmtest.Guest)) (files map[string]string, log string) {
	t.Helper()
	return evidenceFilesOf(t, vmtest.Config{}, work)
}

// evidenceFilesOf is evidenceFiles with a guest that c describes.
func evidenceFilesOf(t *testing.T, c vmtest.Config, work func(*vmtest.Guest)) (files map[string]string, log string) {
	t.Helper()
	place := t.TempDir()
	t.Setenv("VMTEST_EVIDENCE", place)
	log = evidenceOf(t, c, work)
	last := regexp.MustCompile(`\nevidence: (` + regexp.QuoteMeta(place) + `/\S+)\n$`).FindStringSubmatch(log)
	require.NotNil(t, last, "the log ends with:\n%s", log[max(0, len(log)-500):])
	files = make(map[string]string)
	require.NoError(t, fs.WalkDir(os.DirFS(last[1]), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(last[1], name))
		files[name] = string(data)
		return err
	}))
	return files, log
}

// The directory of a failed test has what the guest did and what the test did with it, by
// their times, and nothing of the host's environment.
func TestEvidenceDirectory(t *testing.T) {
	const secret = "the-hosts-own-7361"
	t.Setenv("SECRET_OF_THE_HOST", secret)
	files, log := evidenceFiles(t, func(g *vmtest.Guest) {
		copyUnits(t, g, "testdata/evidence")
		g.Run(t, "echo", "what", "it says")
		g.Exec(t, vmtest.Command{Args: []string{"sh", "-c", "echo oops >&2; exit 3"}})
		_ = g.Machine.Unit("nobody.service").Start(t.Context()) // it may fail at once
		g.Unit("nobody.service").Wait(t, "failed")              // given up
		g.Unit("yes.socket").Start(t)
	})
	assert.True(t, strings.HasPrefix(log, files["summary.txt"][:100]), "the log begins with the summary")
	assert.Regexp(t, `(?m)^MESSAGE=nobody\.service: .*status=217/USER`, files["journal.export"])
	assert.True(t, strings.HasPrefix(files["journal.export"], "__CURSOR="), "the export format")
	assert.Contains(t, files["journal.txt"], "nobody.service: Failed with result 'exit-code'.")
	assert.Regexp(t, `^/\S*qemu-system-`, files["qemu.txt"])
	assert.Regexp(t, `(?m)^[0-9:.]+  \$ echo what 'it says' \(\d\.\d+ s\)\n    what it says$`, files["steps.txt"])
	assert.Regexp(t, `(?m)^[0-9:.]+  \$ sh -c .*\n    .*exit status 3.*\n(    .*\n)*    oops$`, files["steps.txt"])
	assert.Regexp(t, `(?m)^[0-9:.]+  Unit\.Wait at evidencedir_test\.go:\d+ `, files["steps.txt"])
	assert.Regexp(t, `(?s)test   \$ echo what.*guest  .*nobody\.service: .*status=217/USER.*test   Unit\.Start at `, files["timeline.txt"])
	assert.Regexp(t, `(?m)^[0-9:.]+  unit   nobody\.service: failed \(failed\), result (exit-code|start-limit-hit)$`, files["timeline.txt"])
	for _, what := range []string{`job \d+ was queued`, `active \(listening\)`, `job \d+ ended: done`} {
		assert.Regexp(t, `(?m)^[0-9:.]+  unit   yes\.socket: `+what+`$`, files["timeline.txt"])
	}
	assert.Regexp(t, `nobody\.service.*\n.*Loaded: loaded`, files["status.txt"])
	assert.Contains(t, files["show.txt"], "\nId=yes.socket\n")
	assert.Contains(t, files["jobs.txt"], "No jobs running.")
	assert.Contains(t, files["processes.txt"], "vmtest-agent.service")
	assert.Regexp(t, `^Netid .*\ntcp +LISTEN .* 127\.0\.0\.1:9092 `, files["listening.txt"], "what listens comes first")
	assert.Regexp(t, `(?s)^\{\n "format": 1,\n "sha256": "[0-9a-f]{64}",.*"test": "TestEvidenceDirectory",.*"text": "\$ echo what 'it says'",.*"name": "listening\.txt"`, files["evidence.json"])
	for name, text := range files {
		assert.NotContains(t, text, secret, "the host's environment in %s", name)
	}
}

// A guest that has gone leaves what had arrived of it.
func TestEvidenceDirectoryOfAGuestThatIsGone(t *testing.T) {
	files, log := evidenceFiles(t, func(g *vmtest.Guest) {
		g.Run(t, "logger", "the last words")
		g.ExpectEntry(t, vmtest.JournalQuery{Contains: "the last words"})
		g.Kill(t)
	})
	assert.NotContains(t, log, "not whole")
	assert.Contains(t, files["journal.export"], "MESSAGE=the last words\n")
	assert.Contains(t, files["timeline.txt"], "test   $ logger 'the last words'")
	assert.NotContains(t, files, "status.txt", "nobody was asked")
}
