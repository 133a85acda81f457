// Package scenarios holds tests of socket activation on a real systemd, each in a
// virtual machine of its own. Their units are in testdata, a folder a topic, to be
// read as examples; the tests of the echo daemon take its own units from
// echo/units.
//
//	go test ./scenarios                          # on debian-13
//	VMTEST_IMAGE=debian-12 go test ./scenarios   # on another image
//
// guide_test.go is the place to begin.
package scenarios
