package vmtest

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"example.org/systemd-vmtest/vmtest/internal/evidence"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/journal"
)

// maxCores is the most core dumps that are looked at, and maxCoreText bounds what the agent
// reports about them, in bytes.
const (
	maxCores    = 20
	maxCoreText = 1 << 20
)

// cores returns the core dumps of the units that, according to entries, dumped core: files of systemd-coredump, or where core(5) puts them. There are none while the kernel's
// core_pattern or a unit's LimitCORE= forbids them.
func (m *Machine) cores(ctx context.Context, entries []journal.Entry) ([]guest.Core, error) {
	units := journal.Dumped(entries)
	if len(units) == 0 {
		return nil, nil
	}
	pattern, err := m.ask(ctx, "cat", "/proc/sys/kernel/core_pattern")
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(pattern, "|") {
		return loggedCores(entries), nil
	}
	dir, base := path.Split(strings.TrimSpace(pattern))
	prefix, _, _ := strings.Cut(base, "%")
	args := []string{"find"}
	for _, unit := range units {
		p, err := m.vm.Properties(ctx, unit)
		if err != nil && !errors.Is(err, ErrNoUnit) {
			return nil, err
		}
		args = append(args, coreDir(p, dir))
	}
	args = append(args[:1], slices.Compact(slices.Sorted(slices.Values(args[1:])))...)
	found, err := m.ask(ctx, append(args, "-maxdepth", "1", "-type", "f", "-name", prefix+"*", "-print0")...)
	if err != nil && !isExit(err) { // it exits with 1 if a unit's directory is gone
		return nil, err
	}
	files := strings.FieldsFunc(found, func(r rune) bool { return r == 0 })
	if len(files) == 0 {
		return nil, nil
	}
	text, err := m.ask(ctx, append([]string{guest.AgentPath, guest.CoreVerb}, files[:min(len(files), maxCores)]...)...)
	if err != nil {
		return nil, err
	}
	var all []guest.Core
	for line := range strings.Lines(text) {
		var c guest.Core
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			return all, fmt.Errorf("describe core dumps: %w", err)
		}
		if c.Err == "" { // else it is another file of that name
			all = append(all, c)
		}
	}
	return all, nil
}

// coreDir returns where a unit with these properties leaves a dump, whose pattern begins with
// dir.
func coreDir(p map[string]any, dir string) string {
	root, _ := p["RootDirectory"].(string)
	work, _ := p["WorkingDirectory"].(string)
	work = strings.TrimLeft(work, "!-")
	if work == "~" {
		work = "/root"
	}
	if path.IsAbs(dir) {
		return path.Join("/", root, dir)
	}
	return path.Join("/", root, work, dir)
}

// loggedCores returns the dumps that systemd-coredump logged.
func loggedCores(entries []journal.Entry) (all []guest.Core) {
	for _, e := range entries {
		if c, ok := journal.CoreOf(e); ok && len(all) < maxCores {
			all = append(all, guest.Core(c))
		}
	}
	return all
}

// ask runs a command as root that is no step of the test, and returns what it writes to its
// standard output. More than maxCoreText is an error.
func (m *Machine) ask(ctx context.Context, args ...string) (string, error) {
	out := answer{left: maxCoreText}
	err := m.output(ctx, &out, args)
	return out.text.String(), err
}

// answer is a buffer that fails when it is full.
type answer struct {
	text bytes.Buffer
	left int
}

func (a *answer) Write(p []byte) (int, error) {
	if len(p) > a.left {
		return 0, fmt.Errorf("it is more than %d KiB", maxCoreText>>10)
	}
	a.left -= len(p)
	return a.text.Write(p)
}

// coreNames returns the names of the files of dumps in the evidence, by their paths in the
// guest: core-PID, and core-PID-2 for the second of a process.
func coreNames(cores []guest.Core) map[string]string {
	names := make(map[string]string)
	count := make(map[int]int)
	for _, c := range cores {
		if c.Path == "" || names[c.Path] != "" {
			continue
		}
		name := fmt.Sprintf("core-%d", c.PID)
		if count[c.PID]++; count[c.PID] > 1 {
			name += fmt.Sprintf("-%d", count[c.PID])
		}
		names[c.Path] = name + packed(c.Path)
	}
	return names
}

// packed returns the suffix of a file that systemd-coredump has compressed.
func packed(file string) string {
	switch ext := path.Ext(file); ext {
	case ".zst", ".lz4", ".xz":
		return ext
	}
	return ""
}

// coreFiles copies the dumps to the evidence. tar leaves out their holes.
func (m *Machine) coreFiles(ctx context.Context, dir *evidence.Directory, cores []guest.Core) {
	names := coreNames(cores)
	if len(names) == 0 {
		return
	}
	args := append([]string{"tar", "--create", "--sparse", "--absolute-names", "--"}, slices.Sorted(maps.Keys(names))...)
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.CloseWithError(m.output(ctx, w, args))
	}()
	unpackCores(ctx, dir, r, names)
	r.Close() // so that tar ends
	<-ended
}

// unpackCores writes the files of an archive whose paths have names to the evidence. It reads
// to the end, where the error of the command that makes the archive is.
func unpackCores(ctx context.Context, dir *evidence.Directory, r io.Reader, names map[string]string) {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, r)
			if err == nil {
				return
			}
		}
		if err != nil {
			dir.Fail("core dumps", err)
			return
		}
		if name := names[h.Name]; name != "" {
			delete(names, h.Name) // once
			dir.Sparse(ctx, name, archive)
		}
	}
}
