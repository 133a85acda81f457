package scenarios

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/lack"
	"example.org/systemd-vmtest/vmtest"
)

// mountsHere is set in a process where TestEvidenceOnABadHost can mount file systems.
const mountsHere = "VMTEST_MOUNTS_HERE"

// The log of a failed test says what of its evidence is missing, and why, on a host whose disk
// is full or whose cache is read-only, and the evidence has nothing of the host.
func TestEvidenceOnABadHost(t *testing.T) {
	hostSide(t)
	needMachine(t)
	if os.Getenv(mountsHere) != "" {
		t.Run("full disk", evidenceOnAFullDisk)
		t.Run("read-only", evidenceOnAReadOnlyDisk)
		t.Run("noexec", evidenceWithoutExec)
		t.Run("home", evidenceWithoutTheHost)
		t.Run("flood", evidenceOfAFlood)
		return
	}
	cache, err := host.Cache("")
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEvidenceOnABadHost$", "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), mountsHere+"=1", "VMTEST_CACHE="+cache)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // the mounts vanish with the process
	if os.Geteuid() != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		}
	}
	output, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		lack.Skip(t, fmt.Sprintf("this user cannot make mount namespaces: %v", err))
	}
	require.NoError(t, err, "output:\n%s", output)
}

// someWords makes a guest log some words.
func someWords(t *testing.T) func(*vmtest.Guest) {
	return func(g *vmtest.Guest) {
		g.Run(t, "logger", "some words")
		g.ExpectEntry(t, vmtest.JournalQuery{Contains: "some words"})
	}
}

// What does not fit is named, and no file that is torn has the name of a whole one.
func evidenceOnAFullDisk(t *testing.T) {
	place := filepath.Join(t.TempDir(), "full")
	mountDisk(t, place, "size=32k,mode=700")
	defer unix.Unmount(place, unix.MNT_DETACH)
	t.Setenv("VMTEST_EVIDENCE", place)
	log := evidence(t, func(g *vmtest.Guest) {
		g.Run(t, "sh", "-c", "i=0; while [ $i -lt 200 ]; do echo $i some words of a journal that is too large; i=$((i+1)); done | systemd-cat")
	})
	t.Log(log)
	assert.Contains(t, log, "evidence from the guest (")
	found := regexp.MustCompile(`\nthe evidence is not whole: (\S+): no space: .*(.*\n)*not written either: (.*)\nevidence: (\S+)\n$`).FindStringSubmatch(log)
	require.NotNil(t, found)
	assert.True(t, strings.HasSuffix(found[1], ".part"), "%s is torn", found[1])
	assert.FileExists(t, filepath.Join(found[4], found[1]))
	assert.FileExists(t, filepath.Join(found[4], "summary.txt"))
	for _, name := range strings.Split(found[3], ", ") {
		assert.NoFileExists(t, filepath.Join(found[4], name))
	}
}

func evidenceOnAReadOnlyDisk(t *testing.T) {
	place := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", place, "tmpfs", unix.MS_RDONLY, ""))
	defer unix.Unmount(place, unix.MNT_DETACH)
	t.Setenv("VMTEST_EVIDENCE", place)
	log := evidence(t, someWords(t))
	assert.Contains(t, log, "some words")
	assert.Regexp(t, `\nno evidence is kept: .*read-only file system\n$`, log)
}

func evidenceWithoutExec(t *testing.T) {
	temp := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", temp, "tmpfs", unix.MS_NOEXEC, ""))
	defer unix.Unmount(temp, unix.MNT_DETACH)
	place := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("VMTEST_EVIDENCE", place)
	log := evidence(t, someWords(t))
	assert.Contains(t, log, "\nevidence: "+place)
	assert.NotContains(t, log, "not whole")
}

// evidenceWithoutTheHost looks for the host's environment and home in all files.
func evidenceWithoutTheHost(t *testing.T) {
	const mark = "the-hosts-own-7361"
	t.Setenv("SECRET_OF_THE_HOST", mark)
	t.Setenv("HOME", "/home/"+mark)
	t.Setenv("XDG_CACHE_HOME", "")
	files, log := evidenceFiles(t, func(g *vmtest.Guest) {
		copyUnits(t, g, "testdata/failures/units")
		_, err := g.Machine.Run(t.Context(), "cat", "/nowhere")
		assert.Error(t, err)
	})
	files["the log"] = log
	assert.Greater(t, len(files), 8)
	for name, text := range files {
		assert.NotContains(t, text, mark, "in %s", name)
	}
}

// A guest that floods its console fills neither memory nor disk.
func evidenceOfAFlood(t *testing.T) {
	files, log := evidenceFiles(t, func(g *vmtest.Guest) {
		g.Run(t, "sh", "-c", "yes flood | head -c 1000000 >/dev/console; echo the last line >/dev/console")
		g.Kill(t)
	})
	console := files["console.txt"]
	assert.LessOrEqual(t, len(console), 256<<10)
	assert.Contains(t, console[len(console)-100:], "the last line")
	assert.LessOrEqual(t, strings.Count(log, "\n"), 40, "the log fits a screen")
}
