package scenarios

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"example.org/systemd-vmtest/images"
)

// needCheckout skips a test of files that only a checkout of the module has.
func needCheckout(t *testing.T) {
	t.Helper()
	if os.Getenv("VMTEST_GO_PREBUILT") != "" {
		t.Skip("VMTEST_GO_PREBUILT is set, and the test needs a checkout of the whole module")
	}
}

// workflow is what these tests read of a workflow of GitHub.
type workflow struct {
	Jobs map[string]struct {
		Needs       []string
		Permissions map[string]string
		Env         map[string]string
		Steps       []step
	}
}

type step struct {
	Uses, Run, If string
}

// The release waits for all other jobs. Each action is pinned to a commit, and each target of
// make exists.
func TestWorkflow(t *testing.T) {
	hostSide(t)
	needCheckout(t)
	var w workflow
	data, err := os.ReadFile("../.github/workflows/ci.yml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(data, &w))
	others := slices.Sorted(maps.Keys(w.Jobs))
	others = slices.DeleteFunc(others, func(name string) bool { return name == "release" })
	assert.Equal(t, others, slices.Sorted(slices.Values(w.Jobs["release"].Needs)), "what the release waits for")
	assert.Subset(t, others, []string{"flake", "lint", "scenarios", "unit"})
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	for name, job := range w.Jobs {
		assert.Equal(t, name == "release", job.Permissions["contents"] == "write", "job %s may write", name)
		for _, s := range job.Steps {
			if target, ok := strings.CutPrefix(s.Run, "make "); ok {
				target, _, _ = strings.Cut(target, " ")
				assert.Regexp(t, `(?m)^`+target+`:`, string(makefile), "make %s of the job %s", target, name)
			}
			if s.Uses != "" && !strings.HasPrefix(s.Uses, "./") {
				assert.Regexp(t, `^actions/[a-z-]+@[0-9a-f]{40}$`, s.Uses, "an action of the job %s", name)
			}
		}
	}
}

// The notes of a release are the section of its tag in the changelog. Without one there is none.
func TestReleaseNotes(t *testing.T) {
	hostSide(t)
	needCheckout(t)
	var w workflow
	data, err := os.ReadFile("../.github/workflows/ci.yml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(data, &w))
	steps := w.Jobs["release"].Steps
	i := slices.IndexFunc(steps, func(s step) bool { return strings.HasPrefix(s.Run, "awk ") })
	require.GreaterOrEqual(t, i, 0, "the step that makes the notes")
	dir := t.TempDir()
	text := "# Changelog\n\n## Unreleased\n\n- next\n\n## [1.2.0] - 2026-01-02\n\n- this\n\n## 1.1.0\n\n- before\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte(text), 0o600))
	for tag, want := range map[string]string{"v1.2.0": "\n- this\n\n", "v1.1.0": "\n- before\n", "v1.2": ""} {
		cmd := exec.CommandContext(t.Context(), "bash", "-e", "-c", steps[i].Run)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GITHUB_REF_NAME="+tag)
		out, err := cmd.CombinedOutput()
		assert.Equal(t, want != "", err == nil, "%s: %v %s", tag, err, out)
		notes, err := os.ReadFile(filepath.Join(dir, "notes.md"))
		require.NoError(t, err)
		assert.Equal(t, want, string(notes))
	}
}

// recipe returns the YAML of docs/ci.md under a heading.
func recipe(t *testing.T, heading string, into any) {
	t.Helper()
	doc, err := os.ReadFile("../docs/ci.md")
	require.NoError(t, err)
	m := regexp.MustCompile("(?s)\n## " + heading + "\n.*?\n```yaml\n(.*?)\n```\n").FindSubmatch(doc)
	require.NotNil(t, m, "docs/ci.md has no recipe for %s", heading)
	require.NoError(t, yaml.Unmarshal(m[1], into))
}

// The recipe for GitHub passes, and fails with a report and evidence if a test fails.
func TestRecipeForGitHub(t *testing.T) {
	hostSide(t)
	needCheckout(t)
	var w workflow
	recipe(t, "GitHub", &w)
	job := w.Jobs["test"]
	var scripts []string
	for _, s := range job.Steps {
		if s.Run != "" {
			scripts = append(scripts, s.Run)
		}
	}
	require.Len(t, scripts, 3)
	c := newCIJob(t, scripts)
	expand := strings.NewReplacer("${{ matrix.image }}", images.Default, "${{ github.workspace }}", c.dir)
	for name, value := range job.Env {
		c.env = append(c.env, name+"="+expand.Replace(value))
	}
	c.test(t, "report/report.html", "report/junit.xml", "report/evidence")
}

// So does the one for GitLab.
func TestRecipeForGitLab(t *testing.T) {
	hostSide(t)
	needCheckout(t)
	var w struct {
		Units struct {
			Variables map[string]string
			Script    []string
		}
	}
	recipe(t, "GitLab", &w)
	require.Len(t, w.Units.Script, 2)
	c := newCIJob(t, w.Units.Script)
	c.env = append(c.env, "VMTEST_IMAGE="+images.Default, "VMTEST_EVIDENCE="+strings.ReplaceAll(w.Units.Variables["VMTEST_EVIDENCE"], "$CI_PROJECT_DIR", c.dir))
	c.test(t, "report.html", "junit.xml", "evidence")
}

// ciJob is a job of CI in a copy of testdata/ci. It uses the cache of this host's user.
type ciJob struct {
	*module
	scripts []string
}

func newCIJob(t *testing.T, scripts []string) *ciJob {
	t.Helper()
	c := &ciJob{newModuleOf(t, "testdata/ci", os.Getenv("VMTEST_CACHE")), scripts}
	edit := exec.Command("go", "mod", "edit", "-tool=example.org/systemd-vmtest/vmtest/cmd/vmtest")
	edit.Dir = c.dir
	out, err := edit.CombinedOutput()
	require.NoError(t, err, "%s", out)
	// This host keeps its settings.
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "sudo"), []byte("#!/bin/sh\ntest \"$1\" != tee || cat >/dev/null\n"), 0o700))
	c.env = append(c.env, "PATH="+bin+":"+os.Getenv("PATH"))
	return c
}

// run runs the scripts as CI does, each by a shell that ends at the first command that fails.
func (c *ciJob) run(t *testing.T) (output string, err error) {
	t.Helper()
	for _, script := range c.scripts {
		cmd := exec.CommandContext(t.Context(), "bash", "-e", "-c", script)
		cmd.Dir, cmd.Env = c.dir, c.env
		out, err := cmd.CombinedOutput()
		if output += string(out); err != nil {
			return output, err
		}
	}
	return output, nil
}

func (c *ciJob) test(t *testing.T, page, junit, evidence string) {
	t.Helper()
	output, err := c.run(t)
	require.NoError(t, err, "output:\n%s", output)
	assert.Contains(t, output, "PASS ci.TestGreeter (")
	assert.Contains(t, output, "\n1 test passed\n")
	text, err := os.ReadFile(filepath.Join(c.dir, page))
	require.NoError(t, err)
	assert.Regexp(t, `(?s)id="guests".*<th scope="row">`+images.Default+`</th>`, string(text), "the page has the guest of a test that passed")

	c.write("units/greeter.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
	output, err = c.run(t)
	require.ErrorAs(t, err, new(*exec.ExitError), "the exit status of a job with a failed test")
	assert.Contains(t, output, "\n1 of 1 test failed\n")
	for file, want := range map[string]string{page: "greeter.service", junit: `<failure message="start greeter.service: `} {
		text, err := os.ReadFile(filepath.Join(c.dir, file))
		require.NoError(t, err)
		assert.Contains(t, string(text), want, file)
	}
	found, err := filepath.Glob(filepath.Join(c.dir, evidence, "*", "evidence.json"))
	require.NoError(t, err)
	assert.Len(t, found, 1, "directories of evidence")
}
