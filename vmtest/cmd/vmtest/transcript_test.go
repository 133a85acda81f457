package main

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest"
)

// answer is the response of a fake guest to a command.
type answer struct {
	output string
	err    error
}

func exits(code int) error { return &vmtest.ExitError{ExitCode: code} }

func fakeGuest(answers map[string]answer) runner {
	return func(_ context.Context, command string) (string, error) {
		a, ok := answers[command]
		if !ok {
			return "", errors.New("no response to " + command)
		}
		return a.output, a.err
	}
}

// goodGuide returns the responses of systemd to the guide.
func goodGuide() map[string]answer {
	answers := make(map[string]answer)
	outputs := []string{
		"",
		"",
		"Created symlink A -> B.\n",
		"Listen=127.0.0.1:9091 (Stream)\nActiveState=active\nSubState=listening\n",
		"socket activation works\n",
		"* demo-echo.socket\n     Active: active (listening) since today\n   Accepted: 1; Connected: 0;\n",
		"systemd[1]: Listening on demo-echo.socket - Some text.\n",
		"Removed A.\n",
	}
	for i, s := range guideSteps(images.Manifest{}) {
		answers[s.command] = answer{output: outputs[i]}
	}
	answers["journalctl --sync"] = answer{}
	answers["readlink -f "+guideLink(images.Manifest{})] = answer{output: "/etc/systemd/system/" + guideSocket + "\n"}
	answers[guideSteps(images.Manifest{})[7].probe] = answer{output: "no link\ninactive\n", err: exits(3)}
	return answers
}

var anyTime = regexp.MustCompile(`\d+\.\d s`)

// show takes the guide's steps and returns what was printed, all times as 0.0 s.
func show(t *testing.T, look theme, run runner) (*transcript, string) {
	t.Helper()
	var b strings.Builder
	tr := &transcript{w: &b, theme: look, run: run, limit: time.Minute}
	require.NoError(t, tr.take(t.Context(), guideSteps(images.Manifest{})))
	require.NoError(t, tr.summary("an image", 14*time.Second))
	return tr, anyTime.ReplaceAllString(b.String(), "0.0 s")
}

func TestTranscriptPasses(t *testing.T) {
	tr, text := show(t, theme{utf8: true}, fakeGuest(goodGuide()))
	assert.Equal(t, 8, tr.passed)
	assert.True(t, strings.HasSuffix(text, "\nPASS  8 steps on an image in 0.0 s\n"), text)
	assert.Contains(t, text, "$ systemctl show demo-echo.socket -p Listen -p ActiveState -p SubState\n"+
		"Listen=127.0.0.1:9091 (Stream)\nActiveState=active\nSubState=listening\n"+
		"✓ systemd itself holds the port and listens  0.0 s\n\n")
	assert.NotContains(t, text, "readlink", "probes are not shown")
}

func TestTranscriptFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		step   int
		answer answer
		want   string // after the mark
	}{
		"verify reports": {0, answer{output: "a.socket:5: Unknown key\n"},
			"    expected: no output\n    got:      the output above\n"},
		"verify exits": {0, answer{err: exits(1)}, "    expected: exit status 0\n    got:      exit status 1\n"},
		"reload":       {1, answer{output: "refused\n", err: exits(1)}, "    expected: exit status 0\n    got:      exit status 1\n"},
		"no link":      {2, answer{}, "    expected: output with \"Created symlink\"\n    got:      nothing\n"},
		"killed": {4, answer{err: &vmtest.ExitError{ExitCode: -1, Signal: "KILL"}},
			"    expected: exit status 0\n    got:      signal KILL\n"},
		"a byte is lost": {4, answer{output: "socket activation work\n"},
			"    expected: the line that was sent, and nothing else\n    got:      socket activation work\n"},
		"nothing back": {4, answer{}, "    expected: the line that was sent, and nothing else\n    got:      nothing\n"},
		"two connections": {5, answer{output: "Active: active (listening)\nAccepted: 2; Connected: 0\n"},
			"    expected: output with \"Accepted: 1;\"\n    got:      Accepted: 2; Connected: 0\n"},
		"empty journal": {6, answer{output: "-- No entries --\n"},
			"    expected: output with \"Listening on \"\n    got:      the output above\n"},
	} {
		t.Run(name, func(t *testing.T) {
			answers := goodGuide()
			answers[guideSteps(images.Manifest{})[tc.step].command] = tc.answer
			tr, text := show(t, theme{utf8: true}, fakeGuest(answers))
			assert.Contains(t, text, "✗ wrong  0.0 s\n"+tc.want)
			assert.Equal(t, 7, tr.passed, "the other steps are still taken")
			assert.True(t, strings.HasSuffix(text, "\nFAIL  1 of 8 steps failed on an image in 0.0 s\n"), text)
		})
	}
}

func TestTranscriptProbesFail(t *testing.T) {
	answers := goodGuide()
	answers["readlink -f "+guideLink(images.Manifest{})] = answer{err: exits(1)}
	answers[guideSteps(images.Manifest{})[7].probe] = answer{output: "no link\nactive\n"}
	_, text := show(t, theme{}, fakeGuest(answers))
	assert.Contains(t, text, "    expected: link "+guideLink(images.Manifest{})+" to /etc/systemd/system/demo-echo.socket\n    got:      nothing\n")
	assert.Contains(t, text, "    expected: no link "+guideLink(images.Manifest{})+" and an inactive socket\n    got:      no link\n              active\n")
	assert.Contains(t, text, "FAIL  2 of 8 steps failed on")
}

func TestTranscriptSkipsDependentSteps(t *testing.T) {
	answers := goodGuide()
	answers[guideSteps(images.Manifest{})[3].command] = answer{output: "Listen=127.0.0.1:9092 (Stream)\nActiveState=active\nSubState=listening\n"}
	_, text := show(t, theme{}, fakeGuest(answers))
	assert.Contains(t, text, "[FAILED] wrong  0.0 s\n"+
		"    expected: Listen=127.0.0.1:9091 (Stream)\n    got:      Listen=127.0.0.1:9092 (Stream)\n")
	assert.Contains(t, text, "[skipped] not run, because it needs this step to pass: systemctl show demo-echo.socket")
	assert.Contains(t, text, "FAIL  1 of 8 steps failed and 1 skipped on")
	for _, r := range text {
		require.Less(t, r, rune(0x80), "not ASCII")
	}
}

func TestTranscriptEndsACommandThatHangs(t *testing.T) {
	good := fakeGuest(goodGuide())
	hang := guideSteps(images.Manifest{})[4].command
	var b strings.Builder
	tr := &transcript{w: &b, theme: theme{utf8: true}, limit: 20 * time.Millisecond, run: func(ctx context.Context, command string) (string, error) {
		if command != hang {
			return good(ctx, command)
		}
		<-ctx.Done()
		return "half a li", ctx.Err()
	}}
	require.NoError(t, tr.take(t.Context(), guideSteps(images.Manifest{})))
	assert.Contains(t, b.String(), "half a li\n✗")
	assert.Contains(t, b.String(), "got:      not done within ")
	assert.Equal(t, 7, tr.passed)
}

func TestTranscriptStopsWithoutAGuest(t *testing.T) {
	gone := &vmtest.GuestError{Image: "debian-13", Doing: "lost", Err: errors.New("QEMU exited")}
	answers := goodGuide()
	answers[guideSteps(images.Manifest{})[2].command] = answer{err: gone}
	var b strings.Builder
	tr := &transcript{w: &b, run: fakeGuest(answers), limit: time.Minute}
	require.ErrorIs(t, tr.take(t.Context(), guideSteps(images.Manifest{})), gone)
	assert.NotContains(t, b.String(), "systemctl show")

	ctx, cancel := context.WithCancel(t.Context())
	tr = &transcript{w: io.Discard, limit: time.Minute, run: func(ctx context.Context, _ string) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}}
	require.ErrorIs(t, tr.take(ctx, guideSteps(images.Manifest{})), context.Canceled)
}

func TestTranscriptStopsWithoutAReader(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	tr := &transcript{w: w, run: fakeGuest(goodGuide()), limit: time.Minute}
	require.ErrorIs(t, tr.take(t.Context(), guideSteps(images.Manifest{})), io.ErrClosedPipe)
	assert.Equal(t, 1, tr.passed)
}

func TestTranscriptIsSafeToPrint(t *testing.T) {
	answers := goodGuide()
	answers[guideSteps(images.Manifest{})[5].command] = answer{output: "\x1b[2J\x1b]0;title\x07Active: active (listening)\nAccepted: 1;\xff\r\n"}
	_, text := show(t, theme{utf8: true}, fakeGuest(answers))
	assert.NotContains(t, text, "\x1b")
	assert.NotContains(t, text, "\x07")
	assert.NotContains(t, text, "title")
	assert.Contains(t, text, "Active: active (listening)\n")
}

func TestThemeColours(t *testing.T) {
	_, text := show(t, theme{utf8: true, colour: true}, fakeGuest(goodGuide()))
	assert.Contains(t, text, "\x1b[1m$ systemctl daemon-reload\x1b[0m\n\x1b[32m✓\x1b[0m ")
	_, text = show(t, theme{utf8: true}, fakeGuest(goodGuide()))
	assert.NotContains(t, text, "\x1b")
}

func TestIsUTF8(t *testing.T) {
	for want, envs := range map[bool][]map[string]string{
		true:  {{"LANG": "C.UTF-8"}, {"LANG": "C", "LC_CTYPE": "en_US.utf8"}, {"LC_ALL": "de_DE.UTF-8", "LANG": "C"}},
		false: {{}, {"LANG": "C"}, {"LC_ALL": "POSIX", "LANG": "C.UTF-8"}},
	} {
		for _, env := range envs {
			assert.Equal(t, want, isUTF8(func(name string) string { return env[name] }), "%v", env)
		}
	}
}
