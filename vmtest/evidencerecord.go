package vmtest

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

// recordEvidence writes the last file of a directory of evidence, which is for programs.
func (m *Machine) recordEvidence(dir *evidence.Directory, test string, s *summary, moments []evidence.Moment) {
	dir.Record(evidence.Record{
		Test: test, Package: packageOfTest(), Guest: m.guest(), Began: m.Began(), Ended: time.Now(),
		Verdict: s.verdict(), Steps: m.steps.All(), Moments: moments,
	})
}

// guest names what m runs.
func (m *Machine) guest() evidence.Guest {
	image := m.Image()
	g := evidence.Guest{
		Image: cmp.Or(image.Base, image.Name), Systemd: image.SystemdVersion, Kernel: image.KernelVersion,
		Accel: string(m.vm.Spec().Files.Accel),
	}
	if title := image.Title(); title != g.Image {
		g.Title = title
	}
	return g
}

// packageOfTest returns the import path of the test binary's package, or its file's name.
func packageOfTest() string {
	pkg := filepath.Base(os.Args[0])
	if info, ok := debug.ReadBuildInfo(); ok && info.Path != "" {
		pkg = info.Path
	}
	return strings.TrimSuffix(pkg, ".test")
}

// attrImage says in the output of go test -json which image a test is to have.
func attrImage(t testing.TB, config Config) {
	if config.Image != "" && !images.IsPath(config.Image) {
		t.Attr(evidence.AttrImage, config.Image)
	}
}

// attrMachine says there which guest the test has, and how long it took.
func attrMachine(t testing.TB, g *Guest, ready time.Time) {
	data, err := json.Marshal(evidence.Machine{
		Guest: g.Machine.guest(), Cold: g.Machine.config.ColdBoot,
		Queued: g.queued.Seconds(), Ready: ready.Sub(g.Machine.Began()).Seconds(),
	})
	if err == nil {
		t.Attr(evidence.AttrMachine, string(data))
	}
}
