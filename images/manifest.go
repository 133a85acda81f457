package images

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/kmod"
	"example.org/systemd-vmtest/internal/tail"
)

// formatVersion changes with the layout of an image's directory, and with what a
// build puts into an image. It need not change for a field of the manifest that programs
// without it may ignore. Programs of another version have images of their own; see dirOf.
const formatVersion = 2

// Files of an image's directory.
const (
	manifestFile = "manifest.json"
	kernelFile   = "vmlinuz"
	rootFile     = "rootfs.squashfs"
	modulesDir   = "modules"
)

// Manifest describes an image. It is stored as manifest.json in the image's directory.
type Manifest struct {
	Format         int       `json:"format"`                // version of this layout
	Name           string    `json:"name"`                  // one of Names, the argument of Import or Seal, or a name with a digest
	Base           string    `json:"base,omitempty"`        // what Added was added to, or empty
	Added          []string  `json:"added,omitempty"`       // the packages that were asked for; see Spec
	NoAutostart    bool      `json:"noAutostart,omitempty"` // see Spec
	Debs           []Deb     `json:"debs,omitempty"`        // the package files that were added
	Distribution   string    `json:"distribution"`          // PRETTY_NAME of os-release(5)
	Suite          string    `json:"suite"`                 // the archive's code name
	Arch           string    `json:"arch"`                  // as in runtime.GOARCH
	SystemdVersion string    `json:"systemdVersion"`        // version of the package
	SystemdMajor   int       `json:"systemdMajor"`          // as systemctl --version prints first
	KernelVersion  string    `json:"kernelVersion"`         // as uname -r prints
	Modules        []string  `json:"modules"`               // that the initrd loads, in this order
	Packages       []Package `json:"packages"`              // sorted by name; for an import see there
	Units          string    `json:"unitDir,omitempty"`     // see UnitDir
	Bin            string    `json:"binDir,omitempty"`      // see BinDir
	// Imported is what Import made the image of: "directory", "tar archive", "OCI layout"
	// or "docker archive". It is empty for other images.
	Imported string `json:"imported,omitempty"`
	// Lacks lists what an imported guest lacks of dbus, journalctl, nc, readlink, sh, ss,
	// systemctl, systemd-analyze and udevadm. Other images have all.
	Lacks  []string  `json:"lacks,omitempty"`
	Files  []File    `json:"files"`            // sorted by path
	Digest string    `json:"digest"`           // of Files; equal for equal content
	Inputs string    `json:"inputs,omitempty"` // SHA-256 of what a build of this package began with
	Built  time.Time `json:"built"`
	// Seal is the SHA-256 of this manifest with an empty Seal. It shows a change of
	// the manifest that leaves Files and Digest alone.
	Seal string `json:"seal"`
}

// Title returns the image's name for a person: its base, and what was added.
func (m Manifest) Title() string {
	s := Spec{Base: cmp.Or(m.Base, m.Name), Packages: m.Added}
	for _, d := range m.Debs {
		s.Debs = append(s.Debs, d.Name+".deb")
	}
	return s.label()
}

// UnitDir returns the guest's directory for the unit files of a test, where they can
// also be enabled. It is /etc/systemd/system, unless the distribution keeps that
// read-only, as NixOS does.
func (m Manifest) UnitDir() string { return cmp.Or(m.Units, "/etc/systemd/system") }

// RuntimeUnits reports whether UnitDir is below /run. Units there are enabled with
// the option --runtime of systemctl(1).
func (m Manifest) RuntimeUnits() bool { return strings.HasPrefix(m.UnitDir(), "/run/") }

// BinDir returns the guest's directory of ordinary programs, such as cat. It is /bin,
// unless the distribution has none there.
func (m Manifest) BinDir() string { return cmp.Or(m.Bin, "/bin") }

// Package is one package of the guest.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
}

// File is one file of an image's directory.
type File struct {
	Path   string `json:"path"` // relative, with slashes
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// bytes returns the size of the image's files.
func (m Manifest) bytes() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// digestFiles returns the SHA-256 over one line "sha256  path" per file. sha256sum(1)
// gives the same for such lines.
func digestFiles(files []File) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%s  %s\n", f.SHA256, f.Path)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (m Manifest) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return b.Bytes(), nil
}

func (m Manifest) seal() (string, error) {
	m.Seal = ""
	b, err := m.encode()
	return digest(b), err
}

// sealOf returns the SHA-256 of an encoded manifest without its seal. It is that of the
// bytes, so a field that a later version of this program has added makes no other seal.
func sealOf(b []byte, seal string) string {
	field := func(seal string) []byte { return fmt.Appendf(nil, `"seal": %q`, seal) }
	if i := bytes.LastIndex(b, field(seal)); i >= 0 {
		b = slices.Concat(b[:i], field(""), b[i+len(field(seal)):])
	}
	return digest(b)
}

// write seals the manifest and stores it in dir.
func (m *Manifest) write(dir string) error {
	if err := m.checkText(); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	seal, err := m.seal()
	if err != nil {
		return err
	}
	m.Seal = seal
	b, err := m.encode()
	if err != nil {
		return err
	}
	if _, err := kmod.ReadAll(bytes.NewReader(b)); err != nil { // as readManifest does
		return fmt.Errorf("write manifest: %w", err)
	}
	return writeSynced(filepath.Join(dir, manifestFile), bytes.NewReader(b))
}

// damage is a reason to build an image again. Its text follows "image NAME: ".
type damage string

func (d damage) Error() string { return tail.Printable(string(d)) }

// readManifest returns the manifest of an image's directory. The error is a damage if
// there is none, or if it is of another format or was altered.
func readManifest(dir string) (Manifest, error) {
	f, _, err := openRegular(filepath.Join(dir, manifestFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Manifest{}, damage("the manifest is missing")
	case errors.Is(err, errNotRegular):
		return Manifest{}, damage("the manifest is not a regular file")
	case err != nil:
		return Manifest{}, fmt.Errorf("read manifest: %w", err)
	}
	defer f.Close()
	b, err := kmod.ReadAll(f)
	if err != nil {
		return Manifest{}, fmt.Errorf("read manifest: %w", err)
	}
	return parseManifest(b)
}

func parseManifest(b []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return Manifest{}, damage("the manifest is not valid JSON")
	}
	if m.Format != formatVersion {
		return Manifest{}, damage(fmt.Sprintf("its format is %d, this program needs %d", m.Format, formatVersion))
	}
	if sealOf(b, m.Seal) != m.Seal || digestFiles(m.Files) != m.Digest {
		return Manifest{}, damage("the manifest was altered")
	}
	for _, f := range m.Files {
		if !fs.ValidPath(f.Path) {
			return Manifest{}, damage(fmt.Sprintf("the manifest has the path %q, which leads out of the image", f.Path))
		}
	}
	if err := m.checkText(); err != nil {
		return Manifest{}, damage(err.Error())
	}
	return m, nil
}

// checkText returns an error for a text that cannot be printed in a line. Programs
// print these texts, and an image may come from elsewhere.
func (m Manifest) checkText() error {
	texts := []string{m.Name, m.Distribution, m.Suite, m.Arch, m.SystemdVersion, m.KernelVersion, m.Units, m.Bin}
	texts = append(texts, m.Base, m.Inputs, m.Imported)
	texts = slices.Concat(texts, m.Modules, m.Added, m.Lacks)
	for _, d := range m.Debs {
		texts = append(texts, d.Name, d.Version, d.SHA256)
	}
	for _, p := range m.Packages {
		texts = append(texts, p.Name, p.Version, p.Arch)
	}
	for _, f := range m.Files {
		texts = append(texts, f.Path)
	}
	for _, s := range texts {
		if strings.ContainsAny(s, "\t\n") || tail.Printable(s) != s {
			return fmt.Errorf("the manifest has control characters in %q", s)
		}
	}
	return nil
}

// hashFile returns the size and SHA-256 of an open file that path names in an image.
func hashFile(ctx context.Context, f io.Reader, path string) (File, error) {
	h := sha256.New()
	n, err := io.Copy(h, host.Reader(ctx, f))
	if err != nil {
		return File{}, fmt.Errorf("hash file: %w", err)
	}
	return File{Path: path, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// writeSynced writes a file and waits until it is on disk. A stamp records its inode
// and times, which can outlive its data in a power cut.
func writeSynced(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, r); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return f.Close()
}
