package scenarios

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

const rfc = "https://www.rfc-editor.org/rfc/rfc862"

// sandbox is what systemd must make of the directives that all services share. In
// SystemCallFilter, names after ! must be missing.
var sandbox = properties{
	"DynamicUser": "yes", "UMask": "0077", "CapabilityBoundingSet": "", "NoNewPrivileges": "yes", "RestrictSUIDSGID": "yes",
	"PrivateNetwork": "yes", "RestrictAddressFamilies": "AF_UNIX",
	"ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes",
	"ProtectKernelTunables": "yes", "ProtectKernelModules": "yes", "ProtectKernelLogs": "yes", "ProtectControlGroups": "yes",
	"ProtectClock": "yes", "ProtectHostname": "yes", "ProtectProc": "invisible",
	"RestrictNamespaces": "yes", "RestrictRealtime": "yes", "LockPersonality": "yes", "MemoryDenyWriteExecute": "yes",
	"SystemCallArchitectures": "native", "SystemCallFilter": "accept4 kill !mount !chown !setpriority", "SystemCallErrorNumber": "1",
	"TimeoutStopUSec": "15s", "Documentation": rfc,
}

// service returns the properties of a service with Accept=no and options of the daemon.
func service(description, options string, others properties) properties {
	want := maps.Clone(sandbox)
	maps.Copy(want, properties{
		"Description": description, "ExecStart": strings.TrimSpace("/usr/local/bin/demo-echo --drain-timeout=5s " + options),
		"Type": "notify", "Restart": "on-failure", "Wants": echoSocket,
	})
	maps.Copy(want, others)
	return want
}

// socket returns the properties of a socket unit with these listeners.
func socket(description, listen string, others properties) properties {
	want := properties{"Description": description, "Documentation": rfc, "Listen": listen, "WantedBy": "sockets.target"}
	maps.Copy(want, others)
	return want
}

const loopback = "127.0.0.1:9091 (Stream)"

// shipped are the effective properties of the units in echo/units, one for each of their
// directives, by directory and unit.
var shipped = map[string]map[string]properties{
	"accept-no": {
		echoSocket:  socket("Echo socket, one service for all connections", loopback, properties{"Accept": "no"}),
		echoService: service("Echo service for all connections", "", nil),
	},
	"accept-yes": {
		echoSocket: socket("Echo socket, one service instance per connection", loopback, properties{"Accept": "yes", "MaxConnections": "32"}),
		echoTemplate: func() properties {
			want := service("Echo service for one connection", "", properties{
				"Type": "exec", "StandardInput": "socket", "StandardOutput": "socket", "StandardError": "journal",
				"CollectMode": "inactive-or-failed",
			})
			delete(want, "Restart")
			delete(want, "Wants")
			return want
		}(),
	},
	"datagram": {
		echoSocket: socket("Echo socket for datagrams", "127.0.0.1:9091 (Datagram)\n/run/demo-echo/datagrams (Datagram)",
			properties{"RemoveOnStop": "yes"}),
		echoService: service("Echo service for datagrams", "", nil),
	},
	"idle": {
		echoSocket:  socket("Echo socket of a service that exits when idle", loopback, nil),
		echoService: service("Echo service that exits when idle", "--idle-timeout=3s", nil),
	},
	"max-connections": {
		echoSocket:  socket("Echo socket of a service with a bound on connections", loopback, nil),
		echoService: service("Echo service with a bound on connections", "--max-connections=4", nil),
	},
	"names": {
		"demo-echo-stream.socket": socket("Echo socket for streams", loopback,
			properties{"FileDescriptorName": "stream", "Triggers": echoService}),
		"demo-echo-packets.socket": socket("Echo socket for sequential packets", "/run/demo-echo/packets (SequentialPacket)",
			properties{"FileDescriptorName": "packets", "Triggers": echoService, "RemoveOnStop": "yes"}),
		"demo-echo-datagrams.socket": socket("Echo socket for datagrams", "127.0.0.1:9091 (Datagram)",
			properties{"FileDescriptorName": "datagrams", "Triggers": echoService}),
		echoService: service("Echo service for sockets of all types", "",
			properties{"Wants": "demo-echo-stream.socket demo-echo-packets.socket demo-echo-datagrams.socket"}),
	},
	"reload": {
		echoSocket: socket("Echo socket of a service that reloads", loopback, nil),
		echoService: service("Echo service that reloads", "--config=/etc/demo-echo.conf",
			properties{"ExecReload": "/bin/sh -c kill -HUP $MAINPID"}),
	},
	"reload-notify": {
		echoSocket: socket("Echo socket of a service that reports its reloads", loopback, nil),
		echoService: service("Echo service that reports its reloads", "--config=/etc/demo-echo.conf",
			properties{"Type": "notify-reload"}),
	},
	"seqpacket": {
		echoSocket: socket("Echo socket for sequential packets", "/run/demo-echo/packets (SequentialPacket)",
			properties{"RemoveOnStop": "yes"}),
		echoService: service("Echo service for sequential packets", "", nil),
	},
	"store": {
		echoSocket: socket("Echo socket of a service that keeps its connections", loopback, nil),
		echoService: service("Echo service that keeps its connections", "--store --max-connections=64",
			properties{"FileDescriptorStoreMax": "64"}),
	},
	"watchdog": {
		echoSocket:  socket("Echo socket of a service with a watchdog", loopback, nil),
		echoService: service("Echo service with a watchdog", "", properties{"WatchdogUSec": "10s"}),
	},
}

// propertyOf are the properties of directives that have another name.
var propertyOf = map[string]string{
	"ListenStream": "Listen", "ListenDatagram": "Listen", "ListenSequentialPacket": "Listen",
	"Service": "Triggers", "Sockets": "Wants", "TimeoutStopSec": "TimeoutStopUSec", "WatchdogSec": "WatchdogUSec",
}

// maxExposure bounds the exposure level that systemd-analyze security finds, of 10.0. It
// is 0.7 on systemd 252 and lower on others. What remains is above all PrivateUsers= and
// IPAddressDeny=, which the units do not have.
const maxExposure = 0.7

// Every directive of the shipped units has the effect that its property shows, and the
// sandbox is as tight as systemd-analyze security can tell. What DynamicUser=yes implies
// is looked at without it, too, so that it cannot stand in for another directive.
func TestEchoUnits(t *testing.T) {
	t.Parallel()
	for _, topic := range slices.Sorted(maps.Keys(shipped)) {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			g := startEchoGuest(t, "../echo/units/"+topic)
			if topic == "reload-notify" {
				notifyReload.need(t, g)
			}
			g.Verify(t, slices.Collect(maps.Keys(shipped[topic]))...)
			for _, name := range slices.Sorted(maps.Keys(shipped[topic])) {
				want := maps.Clone(shipped[topic][name])
				if strings.HasSuffix(name, ".socket") {
					links := systemctl(t, g, "enable", "--no-reload", "--quiet", name) +
						g.Run(t, "find", unitDir(g), "-path", "*.wants/"+name)
					assert.Contains(t, links, "/"+want["WantedBy"]+".wants/"+name, "WantedBy= of %s", name)
					delete(want, "WantedBy")
					assertEffective(t, g, name, want)
					continue
				}
				assertEffective(t, g, strings.Replace(name, "@.", "@1.", 1), want)
				if level := exposure(t, g, name); level > maxExposure {
					t.Errorf("systemd-analyze security finds an exposure of %.1f for %s, want at most %.1f", level, name, maxExposure)
				}

				bare := strings.Replace(name, "demo-echo", "bare", 1)
				g.Run(t, "cp", unitFile(g, name), unitFile(g, bare))
				g.WriteFile(t, unitFile(g, bare)+".d/user.conf", []byte("[Service]\nDynamicUser=no\n"), 0o644)
				want["DynamicUser"] = "no"
				assertEffective(t, g, strings.Replace(bare, "@.", "@1.", 1), want)
			}
		})
	}
}

// assertEffective asserts the properties of a unit in the form that shipped has.
func assertEffective(t testing.TB, g *vmtest.Guest, name string, want properties) {
	t.Helper()
	got := g.Unit(name).Show(t, slices.Sorted(maps.Keys(want))...)
	for _, property := range slices.Sorted(maps.Keys(want)) {
		want, got := want[property], got[property]
		switch property {
		case "WatchdogUSec": // systemd shows it once the service runs; see TestEchoWatchdog
		case "ExecStart", "ExecReload":
			want = strings.ReplaceAll(want, "/bin/sh", g.Machine.Image().BinDir()+"/sh")
			if !strings.Contains(got, "argv[]="+want+" ;") {
				t.Errorf("%s has %s=%s, and not the command %s", name, property, got, want)
			}
		case "Wants", "SystemCallFilter":
			for word := range strings.FieldsSeq(want) {
				word, absent := strings.CutPrefix(word, "!")
				if slices.Contains(strings.Fields(got), word) == absent {
					t.Errorf("%s has %s=%s, which must have %s: %v", name, property, got, word, !absent)
				}
			}
		default:
			if got != want {
				t.Errorf("%s has %s=%s, want %s", name, property, got, want)
			}
		}
	}
}

// exposure returns the exposure level of a service, of 10.0. Before 250, systemd-analyze
// asks systemd about it, which cannot show a template.
func exposure(t testing.TB, g *vmtest.Guest, name string) float64 {
	t.Helper()
	args := []string{"systemd-analyze", "security", "--no-pager"}
	if g.Machine.Image().SystemdMajor >= 250 {
		args = append(args, "--offline=yes", unitFile(g, name))
	} else {
		args = append(args, strings.Replace(name, "@.", "@1.", 1))
	}
	out := g.Run(t, args...)
	level := regexp.MustCompile(`Overall exposure level for [^:]*: ([0-9.]+)`).FindStringSubmatch(out)
	require.NotNil(t, level, "no exposure level in %q", out)
	value, err := strconv.ParseFloat(level[1], 64)
	require.NoError(t, err)
	return value
}

// directives returns the directives of a unit file in echo/units.
func directives(t testing.TB, topic, name string) []*unit.UnitOption {
	t.Helper()
	file, err := os.Open(filepath.Join("../echo/units", topic, name))
	require.NoError(t, err)
	defer file.Close()
	options, err := unit.DeserializeOptions(file)
	require.NoError(t, err)
	return options
}

// The table of TestEchoUnits has each directive of each unit, and no other.
func TestEveryDirectiveHasATest(t *testing.T) {
	files, err := filepath.Glob("../echo/units/*/*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	number := 0
	for _, file := range files {
		topic, name := filepath.Base(filepath.Dir(file)), filepath.Base(file)
		want := shipped[topic][name]
		if !assert.NotNil(t, want, "%s is not in the table of TestEchoUnits", file) {
			continue
		}
		number++
		seen := properties{}
		for _, d := range directives(t, topic, name) {
			property := d.Name
			if other, ok := propertyOf[d.Name]; ok {
				property = other
			}
			assert.Contains(t, want, property, "%s=%s of %s is not in the table of TestEchoUnits", d.Name, d.Value, file)
			seen[property] = d.Value
		}
		for property := range want {
			assert.Contains(t, seen, property, "no directive of %s", file)
		}
	}
	for _, units := range shipped {
		number -= len(units)
	}
	assert.Zero(t, number, "units of the table that are not in echo/units")
}

// The services have the same sandbox, in the same words.
func TestEchoServicesShareTheirSandbox(t *testing.T) {
	files, err := filepath.Glob("../echo/units/*/*.service")
	require.NoError(t, err)
	require.Len(t, files, len(shipped))
	sandboxes := map[string][]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		_, own, found := strings.Cut(string(text), "\n# User: ")
		require.True(t, found, "%s has no sandbox, which begins with the comment on the user", file)
		sandboxes[own] = append(sandboxes[own], file)
	}
	assert.Len(t, sandboxes, 1, "files by sandbox: %q", slices.Collect(maps.Values(sandboxes)))
}
