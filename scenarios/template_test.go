package scenarios

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Notices on stderr of a template that is prepared.
const (
	prepareNotice = "template greet: preparing once; tests fork from the snapshot"
	againNotice   = "; making it again"
)

// A template with a name is prepared once, by one of all processes, and again when one of the
// things that went into it has changed. Standard error says which.
func TestTemplateInCache(t *testing.T) {
	t.Parallel()
	hostSide(t)
	cache := t.TempDir()
	m := newModule(t, cache)
	run := func(has string, env ...string) string {
		t.Helper()
		output := m.run("TestPrepared", env...)
		assert.Contains(t, output, `the machine has "`+has+`"`)
		return output
	}

	// Two processes at once: one prepares, the other waits for it.
	first, out1 := m.goTest("TestPrepared")
	second, out2 := m.goTest("TestPrepared")
	require.NoError(t, first.Start())
	require.NoError(t, second.Start())
	err1, err2 := first.Wait(), second.Wait()
	require.NoError(t, err1, "output:\n%s", out1)
	require.NoError(t, err2, "output:\n%s", out2)
	assert.Equal(t, 1, strings.Count(out1.String()+out2.String(), prepareNotice), "%s\n%s", out1, out2)

	assert.NotContains(t, run("onetwothreehello"), prepareNotice)
	m.write("copied", "1")
	assert.Contains(t, run("1twothreehello"), m.dir+"/copied has changed"+againNotice)
	m.write("read", "2")
	assert.Contains(t, run("12threehello"), m.dir+"/read has changed"+againNotice)
	assert.Contains(t, run("123hello", "GREET_VARIABLE=3"), "$GREET_VARIABLE has changed"+againNotice)
	m.env = append(m.env, "GREET_VARIABLE=3")
	m.write("cmd/greet/main.go", "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Print(\"bye\") }\n")
	assert.Contains(t, run("123bye"), "program ./cmd/greet has changed"+againNotice)
	m.write("other_test.go", "package templated\n\nvar other = prepared.Name\n")
	assert.Contains(t, run("123bye"), "the test binary has changed"+againNotice)
	m.write("units/other.service", "[Service]\nExecStart=true\n")

	// One that is killed while it prepares leaves nothing that another would use.
	killed, _ := m.goTest("TestPrepared")
	killed.Stdout, killed.Stderr = nil, nil
	stdout, err := killed.StdoutPipe() // of go test, which also has the stderr of its tests
	require.NoError(t, err)
	require.NoError(t, killed.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.Contains(lines.Text(), prepareNotice) {
	}
	require.Contains(t, lines.Text(), prepareNotice)
	require.NoError(t, killed.Cancel())
	assert.Error(t, killed.Wait())
	output := run("123bye")
	assert.Contains(t, output, prepareNotice)
	assert.NotContains(t, output, "unusable")
	assert.NotContains(t, run("123bye"), prepareNotice)
	assertTidy(t, cache)
}

// A Setup that fails fails each test that needs it, with evidence. A test that waits for
// another one's Setup calls it itself.
func TestSetupThatFails(t *testing.T) {
	t.Parallel()
	hostSide(t)
	cache := os.Getenv("VMTEST_CACHE")
	m := newModule(t, cache)
	cmd, out := m.goTest("TestBad.*")
	assert.Error(t, cmd.Run())
	for _, name := range []string{"TestBadOne", "TestBadTwo"} {
		assert.Contains(t, out.String(), "--- FAIL: "+name+" ")
		assert.Contains(t, out.String(), "Setup of "+name+" is over")
	}
	assert.Equal(t, 2, strings.Count(out.String(), "run false: exit status 1"), "%s", out)
	assert.Equal(t, 2, strings.Count(out.String(), "evidence from the guest"), "%s", out)
}
