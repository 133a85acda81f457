// Package lack skips tests for what the host lacks.
package lack

import "os"

// T is the part of a testing.TB that Skip calls.
type T interface {
	Helper()
	Skip(args ...any)
	Fatal(args ...any)
}

// Skip skips a test that cannot run on this host. The reason names what is missing and how
// to get it. With VMTEST_REQUIRE=1 in the environment, Skip fails the test instead, so that
// a host that is to run all tests loses none unnoticed. A skip that the user asked for, such
// as by VMTEST_SKIP=1, is no matter for this function.
func Skip(t T, reason string) {
	t.Helper()
	if os.Getenv("VMTEST_REQUIRE") == "1" {
		t.Fatal(reason + " (VMTEST_REQUIRE=1 allows no skip)")
	}
	t.Skip(reason)
}
