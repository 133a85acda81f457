package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

func TestCommandStatus(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		silent bool
	}{
		{&vmtest.ExitError{ExitCode: 3}, 3, true},
		{&vmtest.ExitError{ExitCode: -1, Signal: "TERM"}, 143, true},
		{&vmtest.StartError{Name: "nope", Message: "not found", Errno: syscall.ENOENT}, 127, false},
		{&vmtest.StartError{Name: "/etc", Message: "permission denied", Errno: syscall.EACCES}, 126, false},
	} {
		var status *statusError
		require.ErrorAs(t, commandStatus(fmt.Errorf("run it: %w", tc.err)), &status)
		assert.Equal(t, tc.status, status.status)
		assert.Equal(t, tc.silent, status.err == nil)
	}
	assert.NoError(t, commandStatus(nil))
	other := &vmtest.GuestError{Image: "debian-13"}
	assert.Equal(t, other, commandStatus(other))
}

// On several images, each error is told with its image, and the status is the first.
func TestOnEach(t *testing.T) {
	var b strings.Builder
	ends := map[string]error{
		"a": nil, "b": &statusError{status: 7}, "c": &statusError{exitGuest, errors.New("boot c: no init")}, "d": nil,
	}
	var ran []string
	err := onEach(&b, []string{"a", "b", "c", "d"}, func(name string) error {
		ran = append(ran, name)
		return ends[name]
	})
	var status *statusError
	require.ErrorAs(t, err, &status)
	assert.Equal(t, statusError{status: 7}, *status)
	assert.Equal(t, []string{"a", "b", "c", "d"}, ran)
	assert.Equal(t, "vmtest: on c: boot c: no init\n", b.String())

	boom := errors.New("no QEMU")
	assert.Equal(t, boom, onEach(&b, []string{"a", "b"}, func(string) error { return boom }), "what would be so on each image")
	assert.NoError(t, onEach(&b, []string{"a"}, func(string) error { return nil }))
}
