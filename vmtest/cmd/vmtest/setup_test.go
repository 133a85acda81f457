package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
)

// fakeHost lacks mmdebstrap until something installs it.
type fakeHost struct {
	setup
	ran      []string
	lacks    bool
	fails    string // a command that does
	stays    bool   // missing, whatever is installed
	mayNot   error  // why the user may not build
	out, err strings.Builder
}

func newHost(root, sudo, known bool) *fakeHost {
	h := &fakeHost{lacks: true}
	h.setup = setup{
		streams: streams{out: &h.out, err: &h.err},
		root:    root,
		sudo:    sudo,
		missing: func() []host.Tool {
			if !h.lacks {
				return nil
			}
			return []host.Tool{{Command: "mmdebstrap", Package: "mmdebstrap", Why: "builds"}}
		},
		install: func([]host.Tool) (host.Installation, bool) {
			return host.Installation{Update: []string{"apt-get", "update"}, Install: []string{"apt-get", "install", "mmdebstrap"}}, known
		},
		mayBuild: func(context.Context) error { return h.mayNot },
		run: func(_ context.Context, argv []string) error {
			line := strings.Join(argv, " ")
			h.ran = append(h.ran, line)
			if line == h.fails {
				return errors.New("exit status 100")
			}
			h.lacks = h.stays || !strings.Contains(line, "install")
			return nil
		},
	}
	return h
}

func TestSetupInstalls(t *testing.T) {
	h := newHost(true, true, true)
	require.NoError(t, h.do(t.Context(), false))
	assert.Equal(t, []string{"apt-get update", "apt-get install mmdebstrap"}, h.ran)
	assert.Contains(t, h.err.String(), "vmtest: running apt-get install mmdebstrap\n")
	assert.Empty(t, h.out.String())

	h.ran = nil
	h.err.Reset()
	require.NoError(t, h.do(t.Context(), false))
	assert.Empty(t, h.ran, "nothing is missing now")
	assert.Equal(t, "vmtest: nothing is missing on this host\n", h.err.String())
}

func TestSetupAsAUser(t *testing.T) {
	h := newHost(false, true, true)
	require.NoError(t, h.do(t.Context(), false))
	assert.Equal(t, []string{"sudo apt-get update", "sudo apt-get install mmdebstrap"}, h.ran)

	h = newHost(false, false, true)
	require.EqualError(t, h.do(t.Context(), false),
		"not root, and there is no sudo: run as root: apt-get update && apt-get install mmdebstrap")
	assert.Empty(t, h.ran)
}

func TestSetupOfAUserWhoMayNotBuild(t *testing.T) {
	h := newHost(false, true, true)
	h.mayNot = &host.Error{Cause: "no user namespaces for this user", Cure: "usermod"}
	for range 2 { // installing, and with nothing missing
		h.err.Reset()
		require.NoError(t, h.do(t.Context(), false))
		assert.Contains(t, h.err.String(), "but images cannot be built: no user namespaces for this user (usermod)\n")
	}
}

func TestSetupPrints(t *testing.T) {
	h := newHost(false, true, true)
	require.NoError(t, h.do(t.Context(), true))
	assert.Equal(t, "sudo apt-get update && sudo apt-get install mmdebstrap\n", h.out.String())
	assert.Empty(t, h.ran)
}

func TestSetupOnAnUnknownDistribution(t *testing.T) {
	for _, print := range []bool{false, true} {
		h := newHost(true, true, false)
		require.ErrorContains(t, h.do(t.Context(), print), "no apt-get here")
		assert.Contains(t, h.err.String(), "missing: mmdebstrap (package mmdebstrap), which builds")
		assert.Empty(t, h.ran)
	}
}

func TestSetupFails(t *testing.T) {
	h := newHost(true, true, true)
	h.fails = "apt-get update"
	require.NoError(t, h.do(t.Context(), false), "one bad source is no reason to stop")
	assert.Contains(t, h.err.String(), "run apt-get update: exit status 100; going on")

	h = newHost(true, true, true)
	h.fails = "apt-get install mmdebstrap"
	require.ErrorContains(t, h.do(t.Context(), false), "run apt-get install mmdebstrap: exit status 100")

	h = newHost(true, true, true)
	h.stays = true
	require.ErrorContains(t, h.do(t.Context(), false), "still missing: mmdebstrap")
}
