package mounts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv("VMTEST_GUEST") == "" {
		println("run it with: go test -exec 'vmtest exec'")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestMemory(t *testing.T) {
	dir := t.TempDir()
	if err := Memory(dir); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, 0)
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 2<<20), 0o600); err == nil {
		t.Error("2 MiB fit in 1 MiB")
	}
}

func TestMemoryNowhere(t *testing.T) {
	if err := Memory("/nowhere"); err == nil {
		t.Error("mounted on a directory that does not exist")
	}
}

func TestCgroup(t *testing.T) {
	dir := "/sys/fs/cgroup/of-a-test"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
}

func TestSystemd(t *testing.T) {
	out, err := exec.Command("systemd-run", "--wait", "--collect", "--pipe", "echo", "from a unit").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "from a unit\n") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestTestdata(t *testing.T) {
	for _, name := range []string{"file", "deep/file", "link"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil || string(data) != "data\n" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
	if _, err := os.Stat(".git"); err == nil {
		t.Error(".git is here")
	}
}

func TestEnvironment(t *testing.T) {
	want := map[string]string{"SECRET_OF_HOST": "", "NAMED": "one", "SET": "two", "HOME": "/root", "GODEBUG": "x=1"}
	for name, value := range want {
		if got := os.Getenv(name); got != value {
			t.Errorf("%s=%q, want %q", name, got, value)
		}
	}
}

func TestArtifact(t *testing.T) {
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "kept"), []byte("artifact"), 0o600); err != nil {
		t.Fatal(err)
	}
}
