// Package gobuild builds Go commands for guests, and keeps them in the cache.
package gobuild

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
)

// Program returns the static executable of the Go command pkg for a guest of
// architecture arch, as in runtime.GOARCH. pkg is an import path or a ./path in the
// module of the working directory. $VMTEST_GO_PREBUILT names a directory of executables
// to use instead of a build. Program calls notice with the reason if it cannot remove
// unused programs from the cache.
func Program(ctx context.Context, pkg, arch string, notice func(string)) ([]byte, error) {
	if dir := os.Getenv("VMTEST_GO_PREBUILT"); dir != "" {
		return prebuilt(dir, pkg, arch)
	}
	return fromCache(notice, func(dir string) ([]byte, error) { return cached(ctx, dir, pkg, arch) })
}

// fromCache returns what get returns for the cache's directory of programs. It removes
// unused programs there.
func fromCache(notice func(string), get func(dir string) ([]byte, error)) ([]byte, error) {
	dir, err := host.Cache("go")
	if err != nil {
		return nil, err
	}
	data, err := get(dir)
	if err != nil {
		return nil, host.Explain(err, dir)
	}
	if err := dropPrograms(dir, time.Now().Add(-keepUnused)); err != nil {
		notice("cannot remove unused programs: " + err.Error())
	}
	return data, nil
}

// cached builds the program in dir, unless it is up to date there, and returns its
// content.
func cached(ctx context.Context, dir, pkg, arch string) ([]byte, error) {
	wd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", pkg, err)
	}
	out := filepath.Join(dir, cacheName(wd, pkg, arch))
	return locked(ctx, out, pkg, func() ([]byte, error) {
		noted := make(chan error, 1)
		go func() { noted <- noteSources(ctx, pkg, arch) }()
		data, err := buildKept(ctx, pkg, arch, out)
		if errSources := <-noted; err == nil {
			err = errSources // that of the build has more detail
		}
		return data, err
	})
}

// locked calls build with the lock of the program at out, and records that the program is
// used, unless build returns nil.
func locked(ctx context.Context, out, pkg string, build func() ([]byte, error)) ([]byte, error) {
	lock, err := host.LockFile(ctx, out+lockSuffix, nil)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", pkg, err)
	}
	defer lock.Close()
	data, err := build()
	if err != nil || data == nil {
		return nil, err
	}
	now := time.Now()
	if err := os.Chtimes(out, now, now); err != nil {
		return nil, fmt.Errorf("build %s: record use: %w", pkg, err)
	}
	return data, nil
}

// cacheName returns the name that a program has in the cache.
func cacheName(wd, pkg, arch string) string {
	key := sha256.Sum256([]byte(strings.Join([]string{wd, pkg, arch}, "\x00")))
	return hex.EncodeToString(key[:12])
}

// buildKept brings the executable at out up to date and returns its content.
//
// The go command looks only at the build ID in the executable. It does not notice bytes
// that were altered, or lost on a full disk. So buildKept keeps a digest beside the
// executable, and builds it again if the two do not match.
func buildKept(ctx context.Context, pkg, arch, out string, flags ...string) ([]byte, error) {
	sumFile := out + digestSuffix
	kept, err := os.ReadFile(sumFile)
	if err != nil || string(kept) != digestOf(out) {
		if err := os.RemoveAll(out); err != nil {
			return nil, fmt.Errorf("build %s: remove altered executable: %w", pkg, err)
		}
	}
	if err := goBuild(ctx, pkg, arch, out, flags...); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", pkg, err)
	}
	if bytes.HasPrefix(data, []byte("!<arch>\n")) { // ar(5): go build made an archive
		return nil, fmt.Errorf("build %s for the guest: not a command: package is not main", pkg)
	}
	if err := checkExecutable(data, arch); err != nil {
		return nil, fmt.Errorf("build %s for the guest: %w", pkg, err)
	}
	if sum := digest(data); sum != string(kept) {
		// A torn digest does not match, and costs only another build.
		if err := os.WriteFile(sumFile, []byte(sum), 0o600); err != nil {
			return nil, fmt.Errorf("build %s: write digest: %w", pkg, err)
		}
	}
	return data, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// digestOf returns the digest of a file's content, or "" if it cannot be read.
func digestOf(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return digest(data)
}

// goBuild runs go build with flags in addition to buildFlags, and out as its output.
func goBuild(ctx context.Context, pkg, arch, out string, flags ...string) error {
	// go build handles no signal, not even SIGINT, and leaves its temporary files
	// when it is killed. goBuild removes them, now or before the next build.
	work := out + workSuffix
	if err := os.RemoveAll(work); err != nil {
		return fmt.Errorf("build %s for the guest: %w", pkg, err)
	}
	if err := os.Mkdir(work, 0o700); err != nil {
		return fmt.Errorf("build %s for the guest: %w", pkg, err)
	}
	defer os.RemoveAll(work)
	args := slices.Concat([]string{"build"}, buildFlags, flags, []string{"-o", out, pkg})
	_, err := goCommand(ctx, append(buildEnv(pkg, arch), "GOTMPDIR="+work), args...)
	if err == nil {
		return nil
	}
	var failed *commandError
	if errors.As(err, &failed) {
		if line := tail.LineWith(failed.output, syscall.ENOSPC.Error()); line != "" {
			return &host.Error{
				Cause: fmt.Sprintf("no space: build %s for the guest: %s", pkg, line),
				Cure:  "free some, or move the cache with VMTEST_CACHE and the go command's with GOCACHE",
				Check: host.Disk,
				Tail:  failed.output, Err: failed.err,
			}
		}
	}
	return fmt.Errorf("build %s for the guest: %w", pkg, err)
}
