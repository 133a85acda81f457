package vmtest

import (
	"os"
	"testing"
)

// skip skips a test that needs a machine if the user asked for that.
func skip(t testing.TB) {
	t.Helper()
	switch {
	case testing.Short():
		t.Skip("needs a virtual machine, which go test -short does not start")
	case os.Getenv("VMTEST_SKIP") == "1":
		t.Skip("needs a virtual machine, which VMTEST_SKIP=1 does not start")
	case os.Getenv("VMTEST_GUEST") != "":
		t.Skip("needs a virtual machine, and runs in one already (vmtest exec)")
	}
}

// skips reports whether skip skips.
func skips() bool {
	return testing.Short() || os.Getenv("VMTEST_SKIP") == "1" || os.Getenv("VMTEST_GUEST") != ""
}
