package vmtest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"example.org/systemd-vmtest/images"
)

// EachImage runs test once for each image of $VMTEST_IMAGE, in order, as a subtest with
// the image's name. In test and its own subtests a [Config] without an image, and a
// [Template] of such a Config, have that image. The package's documentation has an
// example. An image that does not exist fails t.
func EachImage(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	names, err := imagesOfRun()
	if err != nil {
		t.Fatal(err)
	}
	if len(names) > 1 && !skips() {
		// The subtests share the slot of t, so that they do not wait for one each.
		ctx, cancel := testContext(t)
		defer cancel()
		config, err := Config{}.complete()
		if err != nil {
			t.Fatal(err)
		}
		slot, err := acquireSlot(ctx, t.Name(), config)
		if err != nil {
			t.Fatalf("start machines: %v", err)
		}
		t.Cleanup(func() { // after the subtests that run in parallel
			if err := slot.Release(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			imageOfTest.Store(t.Name(), name)
			t.Cleanup(func() { imageOfTest.Delete(t.Name()) })
			attrImage(t, Config{Image: name})
			test(t)
		})
	}
}

// NeedSystemd skips the test if the guest's systemd is older than version, the one that
// brought what the test is about: a directive, a property, a behaviour. The reason names
// what, and both versions.
func (g *Guest) NeedSystemd(t testing.TB, version int, what string) {
	t.Helper()
	if image := g.Machine.Image(); image.SystemdMajor < version {
		t.Skipf("%s is there since systemd %d; %s has %s", what, version, image.Name, image.SystemdVersion)
	}
}

// imageOfTest has the image of each subtest of EachImage, by the test's name.
var imageOfTest sync.Map

// saidImage has the names of the tests that have logged which of several images they use.
var saidImage sync.Map

// forTest returns c with the image of the subtest of EachImage that t is, or is in. Another
// test logs once which of several images it uses.
func (c Config) forTest(t testing.TB) Config {
	if c.Image != "" || c.Recipe != nil {
		return c
	}
	for name := t.Name(); name != ""; {
		if image, ok := imageOfTest.Load(name); ok {
			c.Image = image.(string)
			return c
		}
		name = name[:max(0, strings.LastIndex(name, "/"))]
	}
	if names, err := imagesOfRun(); err == nil && len(names) > 1 {
		if _, again := saidImage.LoadOrStore(t.Name(), true); !again {
			t.Helper()
			t.Cleanup(func() { saidImage.Delete(t.Name()) })
			t.Logf("using %s of VMTEST_IMAGE=%s: the test does not call EachImage", names[0], strings.Join(names, ","))
		}
	}
	return c
}

// imagesOfRun returns the images of $VMTEST_IMAGE, or the default one if it is not set.
func imagesOfRun() ([]string, error) {
	names, err := images.NamesIn(os.Getenv("VMTEST_IMAGE"))
	if err != nil {
		return nil, fmt.Errorf("read VMTEST_IMAGE: %w", err)
	}
	if names == nil {
		return []string{images.Default}, nil
	}
	return names, nil
}
