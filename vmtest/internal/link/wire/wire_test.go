package wire_test

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

func TestPack(t *testing.T) {
	for _, list := range [][]string{nil, {""}, {"a", "", "b\x00c", "\xff\xfe"}} {
		got, err := wire.Unpack(wire.Pack(list))
		require.NoError(t, err)
		assert.Equal(t, list, got)
	}
	for _, torn := range []string{"\x00", "\x00\x00\x00\x02a", "\xff\xff\xff\xffa"} {
		_, err := wire.Unpack(torn)
		assert.Error(t, err, "%q", torn)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(wire.Pack([]string{"a", "", "b\x00c"}))
	f.Add("\xff\xff\xff\xffa")
	f.Fuzz(func(t *testing.T, packed string) {
		list, err := wire.Unpack(packed)
		if err == nil && wire.Pack(list) != packed {
			t.Errorf("unpack %q: %q", packed, list)
		}
	})
}

func FuzzSignalName(f *testing.F) {
	f.Add("KILL")
	f.Add("XCPU")
	f.Add("TERM QUIT")
	f.Fuzz(func(t *testing.T, name string) {
		got := wire.BareSignal(wire.SignalName(name))
		if want := wire.BareSignal(name); got != want {
			t.Errorf("signal %q: %q", name, got)
		}
	})
}

func TestErrno(t *testing.T) {
	for _, errno := range []syscall.Errno{0, syscall.ENOENT, syscall.ECONNREFUSED} {
		assert.Equal(t, errno, wire.Errno(wire.RejectionReason(errno)))
	}
}

// A payload that gets, loses or changes a field needs another Version.
func TestVersion(t *testing.T) {
	var layout strings.Builder
	for _, payload := range []any{
		wire.Argv{}, wire.StartError{}, wire.Elapsed{}, wire.ExitStatus{}, wire.ExitSignal{}, wire.Signal{},
		wire.Subsystem{}, wire.DirectTCPIP{}, wire.DirectStreamlocal{}, wire.Dial{},
		wire.Listen{}, wire.Accept{}, wire.Addressed{},
	} {
		of := reflect.TypeOf(payload)
		fmt.Fprint(&layout, of.Name(), ":")
		for field := range of.Fields() {
			fmt.Fprint(&layout, " ", field.Name, " ", field.Type, ",")
		}
		layout.WriteString("\n")
	}
	assert.Equal(t, "SSH-2.0-systemd_vmtest_4", wire.Version)
	assert.Equal(t, "9b6b746c1911", fmt.Sprintf("%x", sha256.Sum256([]byte(layout.String())))[:12], "layout of the payloads:\n%s", layout.String())
}
