package scenarios

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/lack"
)

// hostSide declares that a test is about the host's side, which is the same for all guests:
// the cache, snapshots on disk, images that are imported. It skips the test on any image
// but the default one, so that make matrix runs it once. An image given by its path counts
// as the default one, because nothing else runs the test then.
func hostSide(t *testing.T) {
	t.Helper()
	if reason := notHere(os.Getenv("VMTEST_IMAGE")); reason != "" {
		t.Skip(reason)
	}
}

// notHere returns why a test of the host's side does not run with a value of VMTEST_IMAGE,
// or "" if it does.
func notHere(list string) string {
	name, _, _ := strings.Cut(list, ",")
	if name == "" || name == images.Default || images.IsPath(name) {
		return ""
	}
	return fmt.Sprintf("tests the host's side, which %s shares with %s: run it with VMTEST_IMAGE=%s", name, images.Default, images.Default)
}

// needMachine skips a test that starts a machine in another process, where vmtest.Start skips.
func needMachine(t *testing.T) {
	t.Helper()
	if testing.Short() || os.Getenv("VMTEST_SKIP") == "1" {
		t.Skip("starts a machine: run it without -short and VMTEST_SKIP")
	}
}

// needGo skips a test that builds a program and has it start a machine.
func needGo(t *testing.T) {
	t.Helper()
	needMachine(t)
	if os.Getenv("VMTEST_GO_PREBUILT") != "" {
		t.Skip("VMTEST_GO_PREBUILT is set, and the test needs a go command")
	}
	if _, err := exec.LookPath("go"); err != nil {
		lack.Skip(t, "no go command on PATH: install Go")
	}
}

func TestHostSide(t *testing.T) {
	for _, list := range []string{"", images.Default, images.Default + ",debian-11", "./image"} {
		assert.Empty(t, notHere(list), "with VMTEST_IMAGE=%s", list)
	}
	for _, list := range []string{"debian-11", "debian-11," + images.Default, "mine"} {
		assert.Contains(t, notHere(list), "run it with VMTEST_IMAGE="+images.Default, "with VMTEST_IMAGE=%s", list)
	}
}
