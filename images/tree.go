package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/kmod"
	"example.org/systemd-vmtest/internal/rootfs"
)

// tree is what a build reads from the guest's tree on its way into the image. The caller
// closes its modules.
type tree struct {
	kernelVersion string
	distribution  string // PRETTY_NAME of os-release
	packages      []Package
	modules       moduleFiles
}

// machineID is an empty file in an image. If it is missing or "uninitialized",
// systemd takes each boot for the first one, and applies presets over the units that
// a test enabled. An empty one gets an id at boot too; see machine-id(5).
const machineID = "etc/machine-id"

// filterTree copies the guest's tree from mmdebstrap's tar stream in to out, without
// the cuts, and writes the kernel into dir. It removes from the headers what depends
// on the build's user, time and host. No time is after newest.
func filterTree(in io.Reader, out io.Writer, dir string, newest time.Time) (_ *tree, err error) {
	t := &tree{modules: moduleFiles{dir: dir}}
	defer func() {
		if err != nil {
			t.modules.close()
		}
	}()
	tr, tw := treeReader{tar.NewReader(in)}, tar.NewWriter(out)
	list := cuts()
	gone := map[string]bool{}
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		name := path.Clean(strings.TrimPrefix(hdr.Name, "./"))
		if name == "." {
			continue // sqfstar's options set the root's attributes
		}
		content, err := t.take(name, hdr, tr, dir)
		if err != nil {
			return nil, err
		}
		if isCut(list, name, hdr.Typeflag == tar.TypeDir) {
			gone[name] = true
			continue
		}
		target := path.Clean(strings.TrimPrefix(hdr.Linkname, "./"))
		if hdr.Typeflag == tar.TypeLink && gone[target] {
			return nil, fmt.Errorf("filter guest tree: %s links to %s, which is cut", name, target)
		}
		if name == machineID {
			hdr.Size, content = 0, bytes.NewReader(nil)
		}
		if err := tw.WriteHeader(plainHeader(hdr, newest)); err != nil {
			return nil, fmt.Errorf("write guest tree: %w", err)
		}
		if _, err := io.Copy(tw, content); err != nil {
			return nil, fmt.Errorf("copy %s: %w", name, err) // from either end
		}
	}
	if err := tw.Close(); err != nil {
		return nil, fmt.Errorf("write guest tree: %w", err)
	}
	// The archive's padding: without it mmdebstrap would see a broken pipe.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return nil, asTreeError(err)
	}
	return t, t.check()
}

// plainHeader returns a copy of a header with what belongs to the guest, and without
// what comes from the build's circumstances.
func plainHeader(hdr *tar.Header, newest time.Time) *tar.Header {
	plain := &tar.Header{
		Format: tar.FormatPAX, Typeflag: hdr.Typeflag, Name: hdr.Name, Linkname: hdr.Linkname,
		Size: hdr.Size, Mode: hdr.Mode, Uid: hdr.Uid, Gid: hdr.Gid,
		Devmajor: hdr.Devmajor, Devminor: hdr.Devminor,
		ModTime:    hdr.ModTime.Truncate(time.Second),
		PAXRecords: rootfs.Xattrs(hdr), // systemd sets the ACLs of the journal at boot
	}
	if plain.ModTime.After(newest) {
		plain.ModTime = newest
	}
	return plain
}

// take reads what the image needs of an entry, and returns the content for the copy
// of the entry.
func (t *tree) take(name string, hdr *tar.Header, content io.Reader, dir string) (io.Reader, error) {
	if hdr.Typeflag != tar.TypeReg {
		return content, nil
	}
	if version, ok := strings.CutPrefix(name, "boot/vmlinuz-"); ok && !strings.Contains(version, "/") {
		if t.kernelVersion != "" {
			return nil, fmt.Errorf("read guest tree: two kernels, %s and %s", t.kernelVersion, version)
		}
		t.kernelVersion = version
		return content, writeSynced(filepath.Join(dir, kernelFile), content)
	}
	module := strings.TrimPrefix(strings.TrimPrefix(name, "usr/"), "lib/modules/")
	isModule := module != strings.TrimPrefix(name, "usr/") && t.modules.needs(module)
	if !isModule && name != "var/lib/dpkg/status" && name != "usr/lib/os-release" {
		return content, nil
	}
	b, err := kmod.ReadAll(content)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	switch {
	case isModule:
		err = t.modules.add(module, b)
	case name == "usr/lib/os-release":
		t.distribution = host.ParseOSRelease(b)["PRETTY_NAME"]
	default:
		t.packages = parseStatus(b)
	}
	return bytes.NewReader(b), err
}

func (t *tree) check() error {
	switch {
	case t.kernelVersion == "":
		return &treeError{errors.New("no kernel in boot"), true}
	case len(t.packages) == 0:
		return &treeError{errors.New("no packages in var/lib/dpkg/status"), true}
	case t.distribution == "":
		return &treeError{fmt.Errorf("no PRETTY_NAME in usr/lib/os-release: %w", os.ErrNotExist), true}
	}
	return nil
}

// treeError reports that a guest's tree is invalid, torn or lacks something.
type treeError struct {
	err error
	// short reports that the tree ends too early. If the tool that wrote it failed
	// too, that is the cause.
	short bool
}

func (e *treeError) Error() string { return "read guest tree: " + e.err.Error() }

func (e *treeError) Unwrap() error { return e.err }

// treeReader reads a guest's tree. Its errors are *treeError, unlike those of the file
// that the content is copied to.
type treeReader struct{ *tar.Reader }

func (r treeReader) Next() (*tar.Header, error) {
	hdr, err := r.Reader.Next()
	return hdr, asTreeError(err)
}

func (r treeReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	return n, asTreeError(err)
}

func asTreeError(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &treeError{err, errors.Is(err, io.ErrUnexpectedEOF)}
}
