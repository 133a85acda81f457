package images

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestExplainPackages(t *testing.T) {
	for name, tc := range map[string]struct{ output, want string }{
		"unknown": {`Building dependency tree...
E: Unable to locate package nonesuch
E: setup failed: E: apt-get -o Dir::Bin::dpkg=env --yes install systemd nonesuch failed
I: main() received signal PIPE: waiting for setup...
E: mmdebstrap failed to run`, "E: Unable to locate package nonesuch"},
		"version": {`E: Version '9.9' for 'rpcbind' was not found
E: setup failed: E: apt-get --yes install rpcbind=9.9 failed
E: mmdebstrap failed to run`, "E: Version '9.9' for 'rpcbind' was not found"},
		"conflict": {`or been moved out of Incoming.
The following information may help to resolve the situation:

The following packages have unmet dependencies:
 exim4-config : Conflicts: postfix but 3.10.13 is to be installed
 exim4-daemon-light : Conflicts: mail-transport-agent
 postfix : Conflicts: mail-transport-agent
E: Unable to correct problems, you have held broken packages.
E: setup failed: E: apt-get failed`, "unmet dependencies: exim4-config : Conflicts: postfix but 3.10.13 is to be installed; " +
			"exim4-daemon-light : Conflicts: mail-transport-agent; postfix : Conflicts: mail-transport-agent"},
		"many": {"The following packages have unmet dependencies:\n a : Depends: b\n     Depends: c\n d : Depends: e\n f : Depends: g\n h : Depends: i\nE: x",
			"unmet dependencies: a : Depends: b; Depends: c; d : Depends: e; f : Depends: g; and more"},
		"postinst fails": {`Unpacking demo (1.0) ...
Setting up demo (1.0) ...
cannot talk to the server: Connection refused
dpkg: error processing package demo (--configure):
 installed demo package post-installation script subprocess returned error exit status 3
Errors were encountered while processing:
 demo
E: Sub-process env returned an error code (1)`, "package demo: installed demo package post-installation script subprocess " +
			"returned error exit status 3: cannot talk to the server: Connection refused"},
		"postinst fails silently": {`Setting up demo (1.0) ...
dpkg: error processing package demo (--configure):
 installed demo package post-installation script subprocess returned error exit status 3
Errors were encountered while processing:`, "package demo: installed demo package post-installation script subprocess returned error exit status 3"},
		"torn": {`dpkg-deb: error: '/debs/0/demo.deb' is not a Debian format archive
dpkg: error processing archive /debs/0/demo.deb (--install):
 dpkg-deb --control subprocess returned error exit status 2`, "archive demo.deb: dpkg-deb --control subprocess returned error exit status 2: " +
			"error: '/debs/0/demo.deb' is not a Debian format archive"},
	} {
		t.Run(name, func(t *testing.T) {
			err := explain("mmdebstrap", tc.output, errors.New("exit status 1"))
			var build *BuildError
			require.ErrorAs(t, err, &build)
			assert.Equal(t, tc.want, build.Cause)
			assert.Equal(t, tc.output, build.Tail)
		})
	}
	err := explain("mmdebstrap", "dpkg: error processing archive a.deb (--unpack):\n cannot copy: No space left on device", errors.New("x"))
	assert.ErrorAs(t, err, new(*HostError), "a full disk is the host's")
	assert.Empty(t, dpkgCause(strings.Split("dpkg: error processing package", "\n")))
}
