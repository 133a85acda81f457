package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// testFlags are the flags of a test binary that are about files, and about time (go help
// testflag). Their paths are absolute.
type testFlags struct {
	goTest    bool // go test has started the program
	timeout   time.Duration
	files     []string // that the binary writes
	outputDir string   // "" is the working directory
	coverDir  string
	fuzzCache string
	artifacts bool
	newInputs string // where fuzzing adds the inputs that fail
}

// profiles are the flags of files that are relative to -test.outputdir.
var profiles = []string{"blockprofile", "coverprofile", "cpuprofile", "memprofile", "mutexprofile", "trace"}

// parseTestFlags returns what args says to a test binary that runs in dir.
func parseTestFlags(dir string, args []string) (f testFlags) {
	given := make(map[string]string)
	for i := 0; i < len(args); i++ {
		flag, isFlag := strings.CutPrefix(args[i], "-")
		if !isFlag || flag == "" || args[i] == "--" {
			break // package flag ends there, too
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(flag, "-"), "=")
		name, isTest := strings.CutPrefix(name, "test.")
		if !isTest {
			continue
		}
		if !hasValue && !slices.Contains(switches, name) && i+1 < len(args) {
			i++
			value = args[i]
		}
		given[name] = value
	}
	absolute := func(base, path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(base, path)
	}
	f.outputDir = absolute(dir, given["outputdir"])
	base := f.outputDir
	if base == "" {
		base = dir
	}
	for _, name := range profiles {
		if path := given[name]; path != "" {
			f.files = append(f.files, absolute(base, path))
		}
	}
	if path := given["testlogfile"]; path != "" {
		f.files = append(f.files, absolute(dir, path))
	}
	f.coverDir = absolute(dir, given["gocoverdir"])
	f.fuzzCache = absolute(dir, given["fuzzcachedir"])
	_, f.goTest = given["paniconexit0"]
	if v, ok := given["artifacts"]; ok && v != "false" {
		f.artifacts = true
	}
	if given["fuzz"] != "" {
		f.newInputs = filepath.Join(dir, "testdata", "fuzz")
	}
	f.timeout, _ = time.ParseDuration(given["timeout"]) // the binary itself reports a bad one
	return f
}

// metaFiles is the file of that list in -test.gocoverdir.
const metaFiles = "metafiles.txt"

// switches are the flags of a test binary that take no value.
var switches = []string{"artifacts", "benchmem", "failfast", "fullpath", "paniconexit0", "short", "v"}

// directories returns the directories that the binary writes to.
func (f testFlags) directories() []string {
	var dirs []string
	for _, path := range f.files {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range []string{f.outputDir, f.coverDir, f.fuzzCache} {
		if dir != "" {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// inputs returns the files and directories that the binary reads: what fuzzing found before,
// and the lists of what other packages' code there is to cover, which go test -coverpkg makes.
func (f testFlags) inputs() (paths []string, err error) {
	for _, dir := range []string{f.coverDir, f.fuzzCache} {
		if _, err := os.Stat(dir); dir != "" && err == nil {
			paths = append(paths, dir)
		}
	}
	if f.coverDir == "" {
		return paths, nil
	}
	data, err := os.ReadFile(filepath.Join(f.coverDir, metaFiles))
	if errors.Is(err, fs.ErrNotExist) {
		return paths, nil
	}
	var list struct{ MetaFileFragments []string }
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of go test: %w", metaFiles, err)
	}
	for _, path := range list.MetaFileFragments {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// results returns the files and directories that the binary may have written. It makes the
// directory for inputs that fuzzing found, as the binary does.
func (f testFlags) results(dir string) (results []string, err error) {
	results = slices.Clone(f.files)
	if f.artifacts {
		base := f.outputDir
		if base == "" {
			base = dir
		}
		results = append(results, filepath.Join(base, "_artifacts"))
	}
	for _, dir := range []string{f.coverDir, f.fuzzCache, f.newInputs} {
		if dir != "" {
			results = append(results, dir)
		}
	}
	for _, dir := range []string{f.fuzzCache, f.newInputs} {
		if dir != "" && err == nil {
			err = os.MkdirAll(dir, 0o777)
		}
	}
	return results, err
}
