// Package scenarios tests socket activation on a real systemd, each test in its own
// virtual machine. The units are examples too: testdata has a directory for each topic.
// The tests of the echo daemon use its units from echo/units.
//
//	go test ./scenarios                          # on debian-13
//	VMTEST_IMAGE=debian-12 go test ./scenarios   # on another image
//	VMTEST_REQUIRE=1 go test ./scenarios         # a skip for what the host lacks is a failure
//
// Begin with guide_test.go. Directory conformance has tests of systemd itself.
//
// make matrix runs all of them on each image. behaviours_test.go names what differs between
// the systemds of the images, and hostSide marks what no image changes.
package scenarios
