// Package bundle keeps a machine in a directory that has all that QEMU needs to go on with
// it, on another host too: a snapshot, and what the machine has booted from.
package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/evidence"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// format is the version of the layout of a bundle.
const format = 1

// Name is the name of a bundle among the evidence of a test.
const Name = "machine"

// The files of a bundle.
const (
	ramName    = "ram"
	stateName  = "state"
	momentName = "moment"
	kernelName = "vmlinuz"
	rootName   = "rootfs.squashfs"
	initrdName = "initrd"
	infoName   = "machine.json"
)

// Info describes a bundle. It is stored in it as JSON.
type Info struct {
	Format    int `json:"format"`
	Snapshots int `json:"snapshots"` // the format of the snapshot

	Test    string            `json:"test"`
	Made    time.Time         `json:"made"`
	Command *evidence.Command `json:"command,omitempty"` // the last one before the failure

	Image        images.Manifest `json:"image"`
	InitrdDigest string          `json:"initrdDigest"`
	Memory       int             `json:"memory"` // MiB
	CPUs         int             `json:"cpus"`
	NICs         int             `json:"nics"` // network interfaces
	KernelArgs   []string        `json:"kernelArgs"`

	QEMU  qemu.Build `json:"qemu"`
	Accel qemu.Accel `json:"accel"`
	Args  string     `json:"args"` // SHA-256 of QEMU's arguments

	Files map[string]File `json:"files"`
}

// File is a file of a bundle.
type File struct {
	Size   int64  `json:"size"`   // bytes
	Digest string `json:"sha256"` // of the file; for the memory see digestSparse
}

// Bundle is the open files of a bundle. Nothing writes them.
type Bundle struct {
	Info
	Snapshot             *snapshots.Files
	Kernel, Root, Initrd *os.File
}

// Close closes the files.
func (b *Bundle) Close() error {
	errs := []error{b.Snapshot.Close()}
	for _, f := range []*os.File{b.Kernel, b.Root, b.Initrd} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// files returns the files by their names, but for that of Info.
func (b *Bundle) files() map[string]**os.File {
	return map[string]**os.File{
		ramName: &b.Snapshot.RAM, stateName: &b.Snapshot.State, momentName: &b.Snapshot.Moment,
		kernelName: &b.Kernel, rootName: &b.Root, initrdName: &b.Initrd,
	}
}

// maxInfo bounds the file of Info, in bytes.
const maxInfo = 16 << 20

// find returns the directory of the bundle at path, which is that directory or one of evidence.
func find(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is not a directory: give the directory that the last line of the test's log names", path)
	}
	for _, dir := range []string{filepath.Join(path, Name), path} {
		if _, err := os.Lstat(filepath.Join(dir, infoName)); err == nil {
			return dir, nil
		} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotDir) {
			return "", err
		}
	}
	if why := readWhyNot(path); why != "" {
		return "", fmt.Errorf("%s has no machine: %s", path, why)
	}
	if _, err := os.Lstat(filepath.Join(path, "summary.txt")); err == nil {
		return "", fmt.Errorf("%s has no machine: run the test with %s=1", path, Option)
	}
	return "", fmt.Errorf("%s is not the directory of a failed test: it has neither %s nor summary.txt", path, filepath.Join(Name, infoName))
}

// WhyNot is the file of evidence that says why it has no bundle, and Option the environment
// variable that makes one.
const (
	WhyNot = "no-machine.txt"
	Option = "VMTEST_EVIDENCE_SNAPSHOT"
)

// maxWhyNot bounds what is read of that file, in bytes.
const maxWhyNot = 4 << 10

// readWhyNot returns the first line of the file WhyNot in dir, or "" if there is none to read.
func readWhyNot(dir string) string {
	f, err := openOwn(filepath.Join(dir, WhyNot), os.O_RDONLY)
	if err != nil {
		return ""
	}
	defer f.Close()
	why, _ := io.ReadAll(io.LimitReader(f, maxWhyNot)) // what there is will do
	return firstLine(why)
}

func parse(data []byte) (Info, error) {
	// The format first: another one may have other types.
	var version struct{ Format, Snapshots int }
	if err := json.Unmarshal(data, &version); err != nil {
		return Info{}, fmt.Errorf("%s was altered: %w", infoName, err)
	}
	if version.Format != format || version.Snapshots != snapshots.Format {
		return Info{}, fmt.Errorf("%s is of format %d with a snapshot of format %d, and this program reads format %d with one of %d: "+
			"use the version of vmtest that ran the test", infoName, version.Format, version.Snapshots, format, snapshots.Format)
	}
	var info Info
	if err := json.Unmarshal(data, &info); err != nil {
		return Info{}, fmt.Errorf("%s was altered: %w", infoName, err)
	}
	for _, text := range []string{info.Test, info.Image.Title(), info.Image.Name, info.Image.SystemdVersion, info.Image.KernelVersion, info.QEMU.Version} {
		if tail.Printable(text) != text || strings.Contains(text, "\n") { // programs print these
			return Info{}, fmt.Errorf("%s was altered: it has control characters in %q", infoName, text)
		}
	}
	return info, nil
}
