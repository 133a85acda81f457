package vmtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The machine of a failed test is not kept where go test -timeout would end that halfway.
func TestTimeForBundle(t *testing.T) {
	endProcess(t, 5*time.Second)
	_, _, err := timeForBundle()
	assert.ErrorContains(t, err, "too little time is left for that: go test -timeout ends the test in ")

	endProcess(t, 20*time.Second)
	ctx, cancel, err := timeForBundle()
	require.NoError(t, err)
	defer cancel()
	end, ok := ctx.Deadline()
	require.True(t, ok)
	assert.InDelta(t, 16, time.Until(end).Seconds(), 1, "with time to clean up")
}

// A machine that a person keeps is not ended for a snapshot.
func TestBundleOfAMachineThatIsHeld(t *testing.T) {
	t.Setenv("VMTEST_KEEP", "1")
	_, err := new(Machine).bundle(t.TempDir(), "TestA", new(summary))
	assert.EqualError(t, err, "-vmtest.keep or VMTEST_KEEP keeps it running, and saving would end it")
}
