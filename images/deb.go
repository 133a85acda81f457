package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
)

// Deb is a package of a file, in a manifest.
type Deb struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"` // of the file
}

// deb is a file of a [Spec].
type deb struct {
	path   string
	sha256 string
}

// hashed keeps the digests of files, because a spec's key is made for each fork.
var hashed sync.Map // host.Identity to string

// readDebs returns the files of a spec in the order of their digests.
func readDebs(paths []string) ([]deb, error) {
	var list []deb
	for _, path := range paths {
		sum, err := hashDeb(path)
		if err != nil {
			return nil, specErrorf("add package file %s: %v", path, err)
		}
		list = append(list, deb{path, sum})
	}
	slices.SortFunc(list, func(a, b deb) int { return strings.Compare(a.sha256, b.sha256) })
	return slices.CompactFunc(list, func(a, b deb) bool { return a.sha256 == b.sha256 }), nil
}

func hashDeb(path string) (string, error) {
	f, id, err := openDeb(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if sum, ok := hashed.Load(id); ok {
		return sum.(string), nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	hashed.Store(id, sum)
	return sum, nil
}

// openDeb opens a regular file, through a link too.
func openDeb(path string) (*os.File, host.Identity, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, host.Identity{}, err
	}
	return openRegular(path)
}

// copyTo copies the file to path, for a reader that may be a subordinate user.
func (d deb) copyTo(path string) error {
	f, _, err := openDeb(d.path)
	if err != nil {
		return fmt.Errorf("copy package file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if err := writeReadable(path, io.TeeReader(f, h)); err != nil {
		return fmt.Errorf("copy package file: %w", err)
	}
	if hex.EncodeToString(h.Sum(nil)) != d.sha256 {
		return fmt.Errorf("copy package file %s: it was changed while the image was built", d.path)
	}
	return nil
}

// control are fields of a package; see deb-control(5).
type control struct {
	name, version, arch string
	depends             []string // clauses of alternatives
	provides            []string // names
}

// controlLimit bounds what is read of a package's fields, in bytes.
const controlLimit = 1 << 20

// readControl returns the fields of a package file, and checks that it is one for this
// host's processor. called is the file's name in errors.
func readControl(ctx context.Context, path, called string) (control, error) {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--field", path, "Package", "Version", "Architecture", "Depends", "Pre-Depends", "Provides")
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	end, out := tail.NewBuffer(tailKept), tail.NewBuffer(controlLimit)
	cmd.Stdout, cmd.Stderr = out, end
	err := cmd.Run()
	if ctx.Err() != nil {
		return control{}, ctx.Err()
	}
	if err != nil {
		cause := lastLine(printable(end.String()))
		if cause == "" {
			cause = err.Error()
		}
		cause = strings.ReplaceAll(strings.TrimPrefix(cause, "dpkg-deb: error: "), path, called)
		return control{}, &BuildError{Tool: "dpkg-deb", Cause: "package file " + called + ": " + cause, Tail: end.String(), Err: err}
	}
	c := parseControl(out.String())
	fault := c.check()
	if out.Written() > controlLimit {
		fault = fmt.Sprintf("its fields have more than %d bytes", controlLimit)
	}
	if fault != "" {
		return control{}, &BuildError{Tool: "dpkg-deb", Cause: "package file " + called + ": " + tail.Printable(fault)}
	}
	return c, nil
}

func parseControl(text string) control {
	var c control
	var key string
	for line := range strings.Lines(text) {
		value := strings.TrimSpace(line)
		if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			key, value, _ = strings.Cut(value, ":")
			value = strings.TrimSpace(value)
		}
		switch key {
		case "Package":
			c.name = value
		case "Version":
			c.version = value
		case "Architecture":
			c.arch = value
		case "Depends", "Pre-Depends":
			c.depends = append(c.depends, splitList(value)...)
		case "Provides":
			for _, p := range splitList(value) {
				c.provides = append(c.provides, relationName(p))
			}
		}
	}
	return c
}

// relations match a clause of alternatives in a field such as Depends.
var relations = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.:~ ()<>=|-]*$`)

func (c control) check() string {
	if !packageArgs.MatchString(c.name) || c.version == "" || c.arch == "" {
		return "it has no valid name, version or architecture"
	}
	if c.arch != "all" && c.arch != runtime.GOARCH {
		return fmt.Sprintf("%s is for %s, and guests are %s", c.name, c.arch, runtime.GOARCH)
	}
	for _, d := range c.depends {
		if !relations.MatchString(d) {
			return fmt.Sprintf("%s depends on %q, which is no list of packages", c.name, d)
		}
	}
	return ""
}

// splitList splits a field at its commas.
func splitList(value string) []string {
	var list []string
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.Join(strings.Fields(item), " "); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// relationName returns the name of the package in an alternative.
func relationName(relation string) string {
	name, _, _ := strings.Cut(strings.TrimSpace(relation), " ")
	name, _, _ = strings.Cut(name, "(")
	name, _, _ = strings.Cut(name, ":")
	return name
}
