// Package held lets other processes of this user reach a machine that a process holds: a
// shell of "vmtest shell --attach", or ssh(1).
//
// A machine that is held has a directory in the cache with a Unix socket, for this user
// alone. Its holder has a lock on the directory, so that the directory of a holder that was
// killed is known, and is removed by the next process that looks.
package held

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/host"
)

// Info describes a machine that is held.
type Info struct {
	Name  string    `json:"name"`
	Image string    `json:"image"` // a description for a person
	Since time.Time `json:"since"` // when it was held first
	PID   int       `json:"pid"`   // of the holder

	// Waiting reports whether the holder waits for Release. The holder of a machine in
	// use goes on without it.
	Waiting bool `json:"waiting"`

	// Dir is the directory of the machine.
	Dir string `json:"-"`
}

// Files of a machine's directory.
const (
	infoFile   = "machine.json"
	keyFile    = "known_hosts" // the agent's key, as ssh(1) reads it
	socketFile = "socket"
)

// lockWait bounds the wait for another process that looks at the directory, which takes
// milliseconds unless that process is stopped.
const lockWait = 10 * time.Second

// open locks the directory of all machines, and removes those whose holder is gone. The
// caller closes the lock.
func open() (place string, _ *host.Lock, err error) {
	if place, err = host.Cache("machines"); err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), lockWait, fmt.Errorf("not locked within %v: another process holds the lock", lockWait))
	defer cancel()
	lock, err := host.LockFile(ctx, filepath.Join(place, ".lock"), nil)
	if err != nil {
		return "", nil, err
	}
	if err := sweep(place); err != nil {
		return "", nil, errors.Join(fmt.Errorf("remove machines that are gone: %w", err), lock.Close())
	}
	return place, lock, nil
}

// sweep removes what holders that were killed have left.
func sweep(place string) error {
	dirs, err := directories(place)
	for _, dir := range dirs {
		lock, errLock := host.TryLockDir(dir)
		switch {
		case errors.Is(errLock, host.ErrLocked):
		case errLock != nil:
			err = errors.Join(err, errLock)
		default:
			err = errors.Join(err, os.RemoveAll(dir), lock.Close())
		}
	}
	return err
}

func directories(place string) ([]string, error) {
	entries, err := os.ReadDir(place) // sorted by name
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(place, e.Name()))
		}
	}
	return dirs, nil
}

// List returns the machines that are held, sorted by name.
func List() ([]Info, error) {
	place, lock, err := open()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	dirs, err := directories(place)
	if err != nil {
		return nil, err
	}
	var all []Info
	for _, dir := range dirs {
		info, err := read(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its holder has just removed it
		}
		if err != nil {
			return nil, err
		}
		all = append(all, info)
	}
	return all, nil
}

func read(dir string) (info Info, err error) {
	data, err := os.ReadFile(filepath.Join(dir, infoFile))
	if err != nil {
		return Info{}, err
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return Info{}, fmt.Errorf("read %s: %w", filepath.Join(dir, infoFile), err)
	}
	info.Dir = dir
	return info, nil
}

// howTo says how a machine comes to be held.
const howTo = `VMTEST_KEEP=1 go test keeps that of a failed test, and "vmtest shell" holds its own`

// Find returns the machine of a name, which may be that of its test, or without a name the
// only one that is held.
func Find(name string) (Info, error) {
	all, err := List()
	if err != nil {
		return Info{}, fmt.Errorf("find machine: %w", err)
	}
	var names []string
	for _, info := range all {
		if names = append(names, info.Name); info.Name == safeName(name) || name == "" && len(all) == 1 {
			return info, nil
		}
	}
	switch {
	case len(all) == 0:
		return Info{}, fmt.Errorf("find machine: no machine is held (%s)", howTo)
	case name == "":
		return Info{}, fmt.Errorf("find machine: several are held: name one of %s", strings.Join(names, ", "))
	}
	return Info{}, fmt.Errorf("find machine: %q is not held; held: %s", name, strings.Join(names, ", "))
}

// Split returns the name at the beginning of args, for Find, and the words of a command behind it.
// If one machine alone is held, args may begin with the command, and the name is "".
func Split(args []string) (name string, rest []string, err error) {
	all, err := List()
	if err != nil {
		return "", nil, fmt.Errorf("find machine: %w", err)
	}
	if len(all) == 1 && len(args) > 0 && all[0].Name != safeName(args[0]) {
		return "", args, nil
	}
	if len(args) == 0 {
		return "", nil, nil
	}
	return args[0], args[1:], nil
}

// unsafeChars are characters that a name does not have, so that it is the same in a path, in
// a shell and in ssh_config(5).
var unsafeChars = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// longestName is the longest name in bytes, without a number.
const longestName = 100

// safeName returns the name for the machine of a test.
func safeName(name string) string {
	name = unsafeChars.ReplaceAllString(name, "_")
	return strings.TrimLeft(name[:min(len(name), longestName)], ".-")
}
