package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.org/systemd-vmtest/internal/host"
)

// The scratch directory is where mmdebstrap unpacks the guest. It is in the directory
// for temporary files and not in the cache: an ordinary user's guest belongs to
// subordinate user ids, which cannot enter a private cache. A file in the build's work
// directory names it, so that a later build can remove what a killed one left.
const (
	scratchFile   = "scratch"
	scratchPrefix = "vmtest-image-"
	// scratchNeed is the space that a build takes there, and cacheNeed what it
	// takes in the cache, in bytes; both with a margin for newer packages.
	scratchNeed = 700 << 20
	cacheNeed   = 400 << 20
	// cleanUpLimit bounds the removal of a guest's tree, because others wait for the
	// image meanwhile. It does not depend on the build's context, which may have ended.
	cleanUpLimit = time.Minute
)

// makeScratch makes a scratch directory and writes its name into the work directory.
// The caller removes it with removeScratch.
func makeScratch(work string) (string, error) {
	base, err := scratchBase()
	if err != nil {
		return "", err
	}
	if err := CheckSpace(work, base); err != nil {
		return "", err
	}
	// Named before it exists: at no moment is there a directory without a note.
	dir := filepath.Join(base, scratchPrefix+strings.TrimPrefix(filepath.Base(work), "."))
	if err := os.WriteFile(filepath.Join(work, scratchFile), []byte(dir), 0o600); err != nil {
		return "", fmt.Errorf("make scratch directory: %w", err)
	}
	if err := os.Mkdir(dir, 0o711); err != nil {
		return "", fmt.Errorf("make scratch directory: %w", err)
	}
	// The subordinate ids have to enter it, whatever this process's umask is.
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", fmt.Errorf("make scratch directory: %w", err)
	}
	return dir, nil
}

// scratchBase returns the first directory for temporary files that other users can
// enter. Some systems give each user a private one.
func scratchBase() (string, error) {
	var tried []string
	for _, base := range []string{os.TempDir(), "/var/tmp"} {
		base, err := filepath.Abs(base)
		if err == nil && (os.Geteuid() == 0 || othersMayPass(base)) {
			return base, nil
		}
		tried = append(tried, base)
	}
	return "", &HostError{Cause: "no temporary directory that other users can enter: looked at " + strings.Join(tried, ", "),
		Cure: "set TMPDIR to one", Check: host.TemporaryFiles}
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

// removeScratch removes the scratch directory that a work directory names, if any.
func removeScratch(work string) error {
	note, err := os.ReadFile(filepath.Join(work, scratchFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("remove scratch directory: %w", err)
	}
	dir, ok := parseNote(note)
	if !ok {
		return nil
	}
	err = os.RemoveAll(dir)
	if errors.Is(err, fs.ErrPermission) {
		// The content belongs to subordinate ids. The directory itself does not, so
		// the helper may complain about that.
		ctx, cancel := context.WithTimeout(context.Background(), cleanUpLimit)
		out, _ := host.RunUnshared(ctx, "rm", "-rf", "--", dir)
		cancel()
		if err = os.RemoveAll(dir); err != nil && len(out) > 0 {
			err = fmt.Errorf("%w (%s)", err, printable(lastLine(string(out))))
		}
	}
	if err != nil {
		return fmt.Errorf("remove scratch directory: %w", err)
	}
	return nil
}

// parseNote returns the scratch directory that a note names. ok is false for a torn
// note, which names nothing that is safe to remove.
func parseNote(note []byte) (dir string, ok bool) {
	dir = string(note)
	name, found := strings.CutPrefix(filepath.Base(dir), scratchPrefix)
	return dir, filepath.IsAbs(dir) && filepath.Clean(dir) == dir && found && name != ""
}

// CheckSpace returns a *[HostError] if a build would not find room in cacheDir, the cache,
// or in scratch, the directory of temporary files. Both directories must exist.
func CheckSpace(cacheDir, scratch string) error {
	if sameDevice(cacheDir, scratch) {
		return host.CheckSpace(cacheDir, cacheNeed+scratchNeed, "a build")
	}
	if err := host.CheckSpace(cacheDir, cacheNeed, "a build"); err != nil {
		return err
	}
	return host.CheckSpace(scratch, scratchNeed, "a build")
}

func sameDevice(a, b string) bool {
	var sa, sb syscall.Stat_t
	return syscall.Stat(a, &sa) == nil && syscall.Stat(b, &sb) == nil && sa.Dev == sb.Dev
}
