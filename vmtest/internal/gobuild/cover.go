package gobuild

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The environment of a program of Covered that collects the counters of its other processes.
const (
	CollectVar = "VMTEST_COVER_COLLECT" // the path of the executable
	ResultsVar = "VMTEST_COVER_RESULTS" // the directory for the data
)

// Files that the go command takes instead of, and in addition to, those of its own package for
// coverage. They need nothing in the program's own source.
var (
	//go:embed _cover/hook.go
	coverHook []byte
	//go:embed _cover/counters.go
	coverCounters []byte
	//go:embed _cover/collector.go
	coverCollector []byte
)

// Covered is Program for an executable that is built with -cover, and that shares its counters
// with a process of CollectVar.
func Covered(ctx context.Context, pkg, arch string, notice func(string)) ([]byte, error) {
	if os.Getenv("VMTEST_GO_PREBUILT") != "" {
		return nil, fmt.Errorf("build %s with coverage: VMTEST_GO_PREBUILT is set", pkg)
	}
	return fromCache(notice, func(dir string) ([]byte, error) {
		wd, err := os.Getwd()
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", pkg, err)
		}
		overlay, err := coverOverlay(ctx, dir)
		if err != nil {
			return nil, fmt.Errorf("build %s with coverage: %w", pkg, err)
		}
		out := filepath.Join(dir, cacheName(wd, pkg+" -cover", arch))
		return locked(ctx, out, pkg, func() ([]byte, error) {
			if err := noteSources(ctx, pkg, arch); err != nil {
				return nil, err
			}
			return buildKept(ctx, pkg, arch, out, "-cover", "-overlay="+overlay)
		})
	})
}

// coverOverlay writes the files for go build -overlay into dir, and returns that of the list.
func coverOverlay(ctx context.Context, dir string) (string, error) {
	out, err := goCommand(ctx, nil, "env", "GOROOT")
	if err != nil {
		return "", fmt.Errorf("find GOROOT: %w", err)
	}
	lib := filepath.Join(strings.TrimSpace(string(out)), "src/internal/coverage/cfile")
	if replaced := filepath.Join(lib, "hooks.go"); !exists(replaced) {
		return "", fmt.Errorf("%s does not exist: coverage of programs in guests replaces that file of Go 1.26", replaced)
	}
	files, replace := make(map[string][]byte), make(map[string]string)
	for name, data := range map[string][]byte{
		"hooks.go":            coverHook,
		"vmtest_counters.go":  coverCounters,
		"vmtest_collector.go": coverCollector,
	} {
		file := filepath.Join(dir, "cover-"+digest(data)[:16]+".go")
		files[file], replace[filepath.Join(lib, name)] = data, file
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "cover-"+digest(list)[:16]+".json")
	files[overlay] = list
	for path, data := range files {
		if old, err := os.ReadFile(path); err == nil && string(old) == string(data) {
			continue
		}
		if err := writeWhole(path, data); err != nil {
			return "", err
		}
	}
	return overlay, nil
}

// writeWhole writes a file that other processes may read meanwhile.
func writeWhole(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return err
}
