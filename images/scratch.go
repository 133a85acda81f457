package images

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"example.org/systemd-vmtest/internal/host"
)

// The scratch folder is where mmdebstrap unpacks the guest. It lies under the
// folder for temporary files and not in the cache: an ordinary user's guest
// belongs to subordinate user ids, which cannot walk into a private cache. A
// file in the build's work folder names it, so that a later build can remove
// what a killed one left.
const (
	scratchFile   = "scratch"
	scratchPrefix = "vmtest-image-"
	// scratchNeed is the room that a build takes there, and cacheNeed what it
	// takes in the cache, in bytes; both with a margin for newer packages.
	scratchNeed = 700 << 20
	cacheNeed   = 400 << 20
)

// makeScratch creates a scratch folder and notes it in the work folder. The
// caller removes it with removeScratch.
func makeScratch(work string) (string, error) {
	base, err := scratchBase()
	if err != nil {
		return "", err
	}
	if err := checkSpace(spaceNeed(work, base)); err != nil {
		return "", err
	}
	// Named before it exists, so that no moment leaves a folder without a note.
	dir := filepath.Join(base, scratchPrefix+strings.TrimPrefix(filepath.Base(work), "."))
	if err := os.WriteFile(filepath.Join(work, scratchFile), []byte(dir), 0o600); err != nil {
		return "", fmt.Errorf("make scratch folder: %w", err)
	}
	if err := os.Mkdir(dir, 0o711); err != nil {
		return "", fmt.Errorf("make scratch folder: %w", err)
	}
	// The subordinate ids need to pass, whatever this process's umask says.
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", fmt.Errorf("make scratch folder: %w", err)
	}
	return dir, nil
}

// scratchBase is the first folder for temporary files that others may pass:
// some systems give each user a private one.
func scratchBase() (string, error) {
	var tried []string
	for _, base := range []string{os.TempDir(), "/var/tmp"} {
		base, err := filepath.Abs(base)
		if err == nil && (os.Geteuid() == 0 || othersMayPass(base)) {
			return base, nil
		}
		tried = append(tried, base)
	}
	return "", &HostError{Cause: "no temporary folder that other users may pass, of " + strings.Join(tried, ", "),
		Cure: "set TMPDIR to one"}
}

func othersMayPass(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// removeScratch removes the scratch folder that a work folder names, if any.
func removeScratch(work string) error {
	b, err := os.ReadFile(filepath.Join(work, scratchFile))
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("remove scratch folder: %w", err)
	}
	dir := string(b)
	if !filepath.IsAbs(dir) || !strings.HasPrefix(filepath.Base(dir), scratchPrefix) {
		return nil // torn note: nothing that may safely be removed
	}
	err = os.RemoveAll(dir)
	if errors.Is(err, os.ErrPermission) {
		// The content belongs to subordinate ids; the folder itself does not,
		// so the helper may complain about that last one.
		cmd := exec.Command("mmdebstrap", "--unshare-helper", "rm", "-rf", "--", dir)
		cmd.Dir = "/"
		out, _ := cmd.CombinedOutput()
		if err = os.RemoveAll(dir); err != nil && len(out) > 0 {
			err = fmt.Errorf("%w (%s)", err, lastLine(string(out)))
		}
	}
	if err != nil {
		return fmt.Errorf("remove scratch folder: %w", err)
	}
	return nil
}

// spaceNeed gives the bytes that a build takes, by a folder of each file system.
func spaceNeed(cacheDir, scratch string) map[string]int64 {
	if sameDevice(cacheDir, scratch) {
		return map[string]int64{cacheDir: cacheNeed + scratchNeed}
	}
	return map[string]int64{cacheDir: cacheNeed, scratch: scratchNeed}
}

// checkSpace compares what a build needs with what the file systems have, ahead
// of the work.
func checkSpace(need map[string]int64) error {
	for dir, want := range need {
		if err := host.CheckSpace(dir, want, "a build"); err != nil {
			return err
		}
	}
	return nil
}

func sameDevice(a, b string) bool {
	var sa, sb syscall.Stat_t
	return syscall.Stat(a, &sa) == nil && syscall.Stat(b, &sb) == nil && sa.Dev == sb.Dev
}
