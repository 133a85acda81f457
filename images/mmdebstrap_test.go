package images

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/tail"
)

func argsOf(t *testing.T, name string, change func(*builder)) string {
	t.Helper()
	b, err := newBuilder(named(name), Options{}, cache{})
	require.NoError(t, err)
	b.mirror, b.allowExpired = "", false
	change(b)
	return strings.Join(b.mmdebstrapArgs("/scratch"), "\n")
}

func TestMmdebstrapArgs(t *testing.T) {
	plain := argsOf(t, "debian-13", func(*builder) {})
	assert.Contains(t, plain, "--mode=unshare\n")
	assert.Contains(t, plain, "--include=systemd,systemd-sysv,dbus,")
	assert.True(t, strings.HasSuffix(plain, "\ntrixie\n-"), plain)
	for _, not := range []string{"Check-Valid-Until", "/sources.list"} {
		assert.NotContains(t, plain, not)
	}
	assert.Equal(t, 1, strings.Count(plain, "--setup-hook="))

	old := argsOf(t, "debian-11", func(*builder) {})
	assert.Contains(t, old, "--mode=unshare\n")
	assert.Contains(t, old, "-security /d")
	assert.Contains(t, old, "for d in bin sbin lib")

	mirror := argsOf(t, "debian-11", func(b *builder) { b.mirror, b.allowExpired = "file:///srv/debian", true })
	assert.True(t, strings.HasSuffix(mirror, "\nbullseye\n-\nfile:///srv/debian"), mirror)
	assert.NotContains(t, mirror, "-security /d", "a mirror that was named is taken as it is")
	assert.Contains(t, mirror, `Acquire::Check-Valid-Until "false"`)
}

// The steps of a build are looked at in their order, with all sources.
func TestSimulateHook(t *testing.T) {
	s := Spec{Base: Default, Packages: []string{"a0", "b0=1:2", "c0/trixie-backports"}, NoAutostart: true,
		depends: []string{"d0 (>= 2) | e0"}}
	b, err := newBuilder(mustComplete(t, s), Options{}, cache{})
	require.NoError(t, err)
	b.sources = []Source{{}}
	text := strings.Join(b.mmdebstrapArgs("/scratch"), "\n")
	sources, simulate := strings.Index(text, sourceHook), strings.Index(text, b.simulateHook())
	assert.Less(t, 0, sources)
	assert.Less(t, sources, simulate)
	assert.Contains(t, text, "?essential)'\nrecord install systemd systemd-sysv ")
	assert.Contains(t, text, "\nrecord install a0 b0=1:2 c0/trixie-backports\nlook satisfy 'd0 (>= 2) | e0'\n")

	b, err = newBuilder(mustComplete(t, named(Default)), Options{}, cache{})
	require.NoError(t, err)
	assert.Contains(t, b.simulateHook(), "?essential)'\nlook install systemd systemd-sysv ")
}

func TestWatchOutput(t *testing.T) {
	end := tail.NewBuffer(tailKept)
	var steps []Progress
	r := &reporter{image: "debian-13", fn: func(p Progress) { steps = append(steps, p) }}
	watchOutput(strings.NewReader(`I: running apt-get update...
Get:1 http://mirror.example/debian trixie InRelease [140 kB]
I: downloading packages with apt...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://mirror.example/debian trixie/main amd64 libc6 amd64 2.41 [2847 kB]
Get:2 http://mirror.example/debian trixie/main amd64 bash amd64 5.2 [1501 kB]
I: extracting archives...
Setting up libc6 ...
I: creating tarball...
`), end, r)
	var got []Progress
	for _, p := range steps {
		got = append(got, Progress{Stage: p.Stage, Done: p.Done, Total: p.Total})
		assert.Equal(t, "debian-13", p.Image)
	}
	assert.Equal(t, []Progress{
		{Stage: Resolving}, {Stage: Resolving},
		{Stage: Downloading}, {Stage: Downloading, Total: 2},
		{Stage: Downloading, Done: 1, Total: 2}, {Stage: Downloading, Done: 2, Total: 2},
		{Stage: Installing, Total: 2}, {Stage: Installing, Done: 1, Total: 2},
		{Stage: Packing, Total: 2},
	}, got)
	assert.True(t, strings.HasSuffix(end.String(), "I: creating tarball..."))
}

// A script that runs before its package is configured, or one of a package file, belongs
// to the installation, which may not be silent for long.
func TestWatchOutputOfScripts(t *testing.T) {
	for name, output := range map[string]string{
		"preinst": "I: downloading packages\n1 upgraded, 2 newly installed\nGet:1 http://mirror.example/debian a\nPreparing to unpack .../a.deb ...\n",
		"a hook":  "I: downloading packages\nGet:1 a\nI: running --customize-hook in shell\n",
		"a file":  "I: running --setup-hook in shell\nI: skipping update as requested\nPreparing to unpack .../a.deb ...\n",
	} {
		var last Progress
		watchOutput(strings.NewReader(output), tail.NewBuffer(tailKept), &reporter{fn: func(p Progress) { last = p }})
		assert.Equal(t, Installing, last.Stage, name)
	}
}
