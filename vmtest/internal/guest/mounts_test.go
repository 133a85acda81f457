package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/lack"
)

// switchRootEnv has the child process of TestSwitchRoot call switchRoot.
const switchRootEnv = "VMTEST_TEST_SWITCH_ROOT"

// TestSwitchRoot switches the root of a child process in a mount namespace of its
// own. The init of the new root is visible only there.
func TestSwitchRoot(t *testing.T) {
	if dir := os.Getenv(switchRootEnv); dir != "" {
		fmt.Println(prepareAndSwitch(dir))
		os.Exit(1)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSwitchRoot$")
	cmd.Env = append(os.Environ(), switchRootEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
		lack.Skip(t, fmt.Sprintf("this host gives %s no user namespace: %v", os.Args[0], err))
	}
	require.NoError(t, err, "%s", out)
	assert.Equal(t, "in /, environment []\n/dev moved\n/proc moved\n/sys moved\n/run moved\n", string(out))
}

// prepareAndSwitch makes a new root that shows the host's files and has an init in
// dir. It returns only on an error.
func prepareAndSwitch(dir string) error {
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	steps := []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("/", root, "", unix.MS_BIND|unix.MS_REC, "") },
		func() error { return unix.Mount("tmpfs", root+dir, "tmpfs", 0, "") },
		func() error {
			const script = "#!/bin/sh\n" +
				"echo in $(pwd), environment [$HOME$USER]\n" +
				"for d in /dev /proc /sys /run; do read text <$d/marker; echo $d $text; done\n"
			return os.WriteFile(root+dir+"/init", []byte(script), 0o755)
		},
	}
	for _, m := range apiMounts {
		steps = append(steps,
			func() error { return unix.Mount("tmpfs", m.target, "tmpfs", 0, "") },
			func() error { return os.WriteFile(m.target+"/marker", []byte("moved\n"), 0o644) })
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return switchRoot(root, dir+"/init")
}

func TestSwitchRootFailure(t *testing.T) {
	err := switchRoot(filepath.Join("/dev/null", "root"), "/sbin/init")
	assert.ErrorContains(t, err, "switch root: make mount point: ")
}
