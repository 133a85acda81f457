package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The lines are systemd's own, 247 with colours and all.
func TestParseFindings(t *testing.T) {
	const typo = "Unknown key 'Usr' in section [Service], ignoring."
	for line, want := range map[string]Finding{
		"/etc/systemd/system/x.service:7: " + typo: {"x.service", "/etc/systemd/system/x.service", 7, typo},
		"\x1b[0;1;38;5;185m/etc/systemd/system/x.service:7: Unknown key name 'Usr' in section 'Service', ignoring.\x1b[0m": {
			"x.service", "/etc/systemd/system/x.service", 7, "Unknown key name 'Usr' in section 'Service', ignoring."},
		"/etc/systemd/system/x.service.d/a.conf:2: " + typo:       {"x.service", "/etc/systemd/system/x.service.d/a.conf", 2, typo},
		"/etc/systemd/system/service.d/a.conf:2: " + typo:         {"", "/etc/systemd/system/service.d/a.conf", 2, typo},
		"/etc/systemd/system/foo-.service.d/a.conf:2: " + typo:    {"", "/etc/systemd/system/foo-.service.d/a.conf", 2, typo},
		"/etc/systemd/system/t@.service.d/a.conf:2: " + typo:      {"t@.service", "/etc/systemd/system/t@.service.d/a.conf", 2, typo},
		"/etc/systemd/system/x.service: Failed to read: No space": {"x.service", "/etc/systemd/system/x.service", 0, "Failed to read: No space"},
		"x.service: Failed to create x.service/start: Unit missing.service not found.": {
			"x.service", "", 0, "Failed to create x.service/start: Unit missing.service not found."},
		"t@test_instance.service: Command /usr/bin/nope is not executable: No such file or directory": {
			"t@test_instance.service", "", 0, "Command /usr/bin/nope is not executable: No such file or directory"},
		"a:b.service: x":              {"a:b.service", "", 0, "x"},
		"Unit nix.service not found.": {"", "", 0, "Unit nix.service not found."},
		"Failed to load: x.service":   {"", "", 0, "Failed to load: x.service"},
		"x.service:7: odd":            {"", "", 0, "x.service:7: odd"},
		"/a.service:0: odd":           {"", "", 0, "/a.service:0: odd"},
	} {
		findings := ParseFindings("\n" + line + "\r\n \n")
		require.Len(t, findings, 1, line)
		// The carriage return is shown as any other control character.
		findings[0].Text = strings.TrimSuffix(findings[0].Text, "\ufffd")
		assert.Equal(t, want, findings[0], line)
	}
	assert.Empty(t, ParseFindings("\n \n"))
}

func TestFindingsAboutUnits(t *testing.T) {
	for unit, want := range map[string]bool{
		"x.service": true, "t@i.service": true, "t@test_instance.service": true, "t@.service": true, "": true, "i@.service": true, "i@1.service": true,
		"y.service": false, "x.socket": false, "t@i.socket": false, "i@2.service": false, "tt@i.service": false,
	} {
		assert.Equal(t, want, Finding{Unit: unit}.About([]string{"x.service", "t@.service", "i@1.service"}), unit)
	}
}

func TestAcceptance(t *testing.T) {
	findings := ParseFindings("a.service: one\n/etc/a.service:3: two\na.service: three\n")
	a, err := NewAcceptance([]string{"one$", `^/etc/a\.service:3:`, "t.o", "four", `"`})
	require.NoError(t, err)
	assert.Equal(t, "[a.service: three]", fmt.Sprint(a.Rest(findings)))
	assert.EqualError(t, a.Unused(), `accept "four", "\"": matches no finding`)
	a.Rest(ParseFindings("a.service: \"four\"\n"))
	assert.NoError(t, a.Unused(), "used by now")
	_, err = NewAcceptance([]string{"("})
	assert.ErrorContains(t, err, `accept "(": error parsing regexp`)
}

// analyzer reports as systemd-analyze 252 does of x.service, real.service, which has the
// alias alias.service, and y.service.
func analyzer(_ context.Context, args []string) (string, int, error) {
	switch {
	case strings.HasPrefix(strings.Join(args, " "), "systemd-analyze verify --man=no -- "):
		return "/etc/x.service:7: Unknown key\nx.service: Unit missing.service not found.\n" +
			"/etc/real.service:3: Unknown key\ny.service: Command /nope is not executable\n", 1, nil
	case args[0] == "readlink":
		return strings.ReplaceAll(strings.Join(args[3:], "\n")+"\n", "alias", "real"), 1, nil
	}
	return "", 0, fmt.Errorf("unexpected %q", args)
}

func TestFindingsAreThoseAboutTheUnits(t *testing.T) {
	v := Verifier{Exec: analyzer, UnitFile: func(_ context.Context, unit string) (string, error) {
		if unit == "t@vmtest.service" {
			unit = "alias.service"
		}
		return "/etc/" + unit, nil
	}}
	const x = "[/etc/x.service:7: Unknown key x.service: Unit missing.service not found.]"
	for unit, want := range map[string]string{
		"/etc/x.service":     x,
		"x.service":          x,
		"/etc/alias.service": "[/etc/real.service:3: Unknown key]",
		"alias.service":      "[/etc/real.service:3: Unknown key]",
		"t@.service":         "[/etc/real.service:3: Unknown key]",
		"z.service":          "[]",
	} {
		findings, err := v.Findings(t.Context(), []string{unit}, false)
		require.NoError(t, err)
		assert.Equal(t, want, fmt.Sprint(findings), unit)
		findings, err = v.Findings(t.Context(), []string{unit}, true)
		require.NoError(t, err)
		assert.Len(t, findings, 4)
	}
	for want, units := range map[string][]string{
		"no units": nil,
		`unit name "x" has no type such as .service (systemd.unit(5))`: {"y.service", "x"},
	} {
		_, err := v.Findings(t.Context(), units, false)
		assert.EqualError(t, err, want)
	}
}

// A systemd-analyze that fails and reports nothing, or is killed, has verified nothing.
func TestVerifyThatDidNotVerify(t *testing.T) {
	killed := errors.New("signal KILL")
	v := Verifier{Exec: func(context.Context, []string) (string, int, error) { return "z.service: x", -1, killed }}
	_, err := v.Findings(t.Context(), []string{"x.service"}, false)
	assert.ErrorIs(t, err, killed)
	// It exits with 0 after a misspelt directive.
	v.Exec = func(context.Context, []string) (string, int, error) { return "/etc/x.service:7: Unknown key\n", 0, nil }
	findings, err := v.Findings(t.Context(), []string{"x.service"}, false)
	assert.NoError(t, err)
	assert.Len(t, findings, 1, "what systemd-analyze reports and exits with 0")
	v.Exec = func(context.Context, []string) (string, int, error) { return "\n", 1, nil }
	_, err = v.Findings(t.Context(), []string{"x.service"}, false)
	assert.EqualError(t, err, "systemd-analyze exited with 1 and reported nothing")
}

// A finding is its line again, and safe to print.
func FuzzParseFindings(f *testing.F) {
	f.Add("/etc/systemd/system/x.service:7: Unknown key\nx.service: Command 'man x(1)' failed with code 1\n")
	f.Add("\x1b[0;1;31mt@i.service: x\x1b[0m\nUnit nix.service not found.\n/a:b:1: c")
	f.Add("/x.service:007: a\n/x.service.d/y.conf: b\r\n a.service:1: \t\n")
	f.Fuzz(func(t *testing.T, output string) {
		var lines []string
		for _, finding := range ParseFindings(output) {
			requirePrintable(t, finding.String())
			require.NotContains(t, finding.String(), "\n")
			require.Equal(t, finding, parseFinding(finding.String()))
			finding.About([]string{"x.service", "t@.service"})
			lines = append(lines, finding.String())
		}
		require.Equal(t, lines, func() (again []string) {
			for _, finding := range ParseFindings(strings.Join(lines, "\n")) {
				again = append(again, finding.String())
			}
			return again
		}())
	})
}
