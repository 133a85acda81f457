package scenarios

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// systemd-analyze verify by path and by name, of units with manual pages that the guest
// does not have, systemd's own included. The faults of a unit that another one needs are
// its own. See systemd-analyze(1), verify.
func TestVerify(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/verify")
	g.Verify(t, unitFile(g, "documented.service"), "documented.service", "documented@.service", "documented@1.service")
	g.Verify(t, "systemd-journald.service", "systemd-journald.socket")
	g.Verify(t, "dependent.service")

	faulty := unitFile(g, "faulty.service")
	line := lineOf(t, "testdata/verify/faulty.service", "Usr=")
	typo := func(found []vmtest.Finding) {
		require.NotEmpty(t, found, "findings about a misspelt directive, for which alone systemd-analyze exits with 0")
		assert.Equal(t, "faulty.service", found[0].Unit)
		assert.Equal(t, faulty, found[0].File)
		assert.Equal(t, line, found[0].Line)
		assert.Contains(t, found[0].Text, "Unknown key")
	}
	for _, unit := range []string{"faulty.service", faulty} {
		found := g.Findings(t, vmtest.Verification{Units: []string{unit}})
		typo(found)
		assert.Equal(t, []vmtest.Finding{{
			Unit: "faulty.service",
			Text: "Command " + g.Machine.Image().BinDir() + "/not-installed is not executable: No such file or directory",
		}}, found[1:])
	}
	// systemd-analyze looks for the programs of the named units only.
	typo(g.Findings(t, vmtest.Verification{Units: []string{"dependent.service"}, All: true}))
	found := g.Findings(t, vmtest.Verification{Units: []string{"faulty.service"}, Accept: []string{"not-installed is not executable"}})
	require.Len(t, found, 1)
	typo(found)
	_, err := g.Machine.Findings(t.Context(), vmtest.Verification{Units: []string{"dependent.service"}, Accept: []string{"Usr"}})
	assert.EqualError(t, err, `verify dependent.service: accept "Usr": matches no finding`)

	// The faults of a unit count also if it is named by an alias, and a unit that does not
	// exist is a fault.
	g.Run(t, "ln", "-s", "faulty.service", unitFile(g, "alias.service"))
	for _, unit := range []string{"alias.service", unitFile(g, "alias.service")} {
		assert.Len(t, g.Findings(t, vmtest.Verification{Units: []string{unit}}), 2, unit)
	}
	assert.ErrorContains(t, g.Machine.Verify(t.Context(), "missing.service"), "missing.service not found", "Verify of a unit that does not exist")
	g.WriteFile(t, unitFile(g, "typo.service"), []byte("[Service]\nExecStart=/bin/true\nUsr=nobody\n"), 0o644)
	assert.ErrorContains(t, g.Machine.Verify(t.Context(), "typo.service"), "Unknown key",
		"Verify of a unit with a misspelt directive, for which systemd-analyze exits with 0")
}
