// Package conformance tests what systemd itself does with socket units, a row of
// ../CONFORMANCE.md a test. Where systemd's versions differ, a test says since which
// version its row holds, and what is seen before.
//
//	go test ./scenarios/conformance                                # on debian-13
//	VMTEST_IMAGE=debian-11,debian-14 go test ./scenarios/conformance
//	make conformance                                               # on all images; writes the table
//
// The units are in testdata, a directory a row. Most of them start cmd/probe. A row fails for
// a unit that failed, unless it waits for that or announces it (guest.fails, guest.errs).
package conformance
