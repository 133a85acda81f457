package images

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// Recipe describes a base that this package does not name: a suite of Debian, of a
// derivative, or of a day of Debian's snapshot archive. It can be a file of JSON, whose path
// is then a [Spec]'s Base:
//
//	{"name": "sid", "suite": "sid"}
//
// A derivative has an archive, keys and a kernel of its own:
//
//	{
//		"name": "ubuntu-24.04", "suite": "noble", "components": ["main", "universe"],
//		"mirror": "http://archive.example.org/ubuntu", "kernel": "linux-image-virtual",
//		"keyring": "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
//	}
//
// It needs packages of the names that Debian's systemd, D-Bus, udev, kmod, ss, nc and netbase
// have. In a file, paths are relative to the file's directory.
//
// Ubuntu 24.04 has been tried, and sid with a package of experimental, which is a Source
// then. Packages names it as "NAME/experimental".
type Recipe struct {
	// Name is what images of this recipe are called, of lower-case letters, digits, dots
	// and hyphens.
	Name string `json:"name"`

	// Suite is the archive's code name, such as "trixie".
	Suite string `json:"suite"`

	// Mirror is the URI of the archive. If it is empty, it is [Options.Mirror] or Debian's.
	Mirror string `json:"mirror,omitempty"`

	// Components are those of the archive. If there are none, it is "main".
	Components []string `json:"components,omitempty"`

	// Keyring is the path of the archive's public keys: a .gpg or an armored .asc file.
	// If it is empty, the keys are those that the host's apt trusts.
	Keyring string `json:"keyring,omitempty"`

	// Kernel is the package of the kernel. If it is empty, it is Debian's cloud kernel,
	// linux-image-cloud-amd64 or -arm64. Modules may be compressed by xz, gzip or zstd.
	Kernel string `json:"kernel,omitempty"`

	// MergeUsr makes /bin, /sbin and /lib links into /usr before the first package is
	// unpacked, as Debian's installer does. From bookworm on packages do it.
	MergeUsr bool `json:"mergeUsr,omitempty"`

	// Sources are further archives, such as one of security updates.
	Sources []Source `json:"sources,omitempty"`

	// mainOnly leaves out the updates and security archives. Those of a suite that
	// is out of support can list files that no mirror has. Those of a suite that is
	// not released are empty and out of date.
	mainOnly bool
}

var (
	recipeNames = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,40}$`)
	suites      = regexp.MustCompile(`^[A-Za-z0-9./][A-Za-z0-9./_-]*$`)
)

// recipeLimit bounds the file of a recipe, and fileLimit that of a keyring, in bytes.
const (
	recipeLimit = 64 << 10
	fileLimit   = 1 << 20
)

// readRecipe returns the recipe in a file.
func readRecipe(path string) (Recipe, error) {
	b, err := readFile(path, recipeLimit)
	if err != nil {
		return Recipe{}, specErrorf("read recipe: %v", err)
	}
	r, err := parseRecipe(b)
	if err != nil {
		return Recipe{}, specErrorf("read recipe %s: %v", path, err)
	}
	dir := filepath.Dir(path)
	r.Keyring = below(dir, r.Keyring)
	for i := range r.Sources {
		r.Sources[i].Keyring = below(dir, r.Sources[i].Keyring)
		r.Sources[i].AuthFile = below(dir, r.Sources[i].AuthFile)
	}
	return r, nil
}

func parseRecipe(b []byte) (Recipe, error) {
	var r Recipe
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return Recipe{}, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return Recipe{}, errors.New("there is more after the recipe's closing brace")
	}
	return r, r.check()
}

// check returns an error for a recipe that apt-get(8) or the cache could not take.
func (r Recipe) check() error {
	switch {
	case !recipeNames.MatchString(r.Name):
		return fmt.Errorf("name %q: want lower-case letters, digits, dots and hyphens", r.Name)
	case !suites.MatchString(r.Suite):
		return fmt.Errorf("suite %q: want the name of a suite, such as trixie", r.Suite)
	case r.Kernel != "" && !packageArgs.MatchString(r.Kernel):
		return fmt.Errorf("kernel %q: want the name of a package", r.Kernel)
	}
	if r.Mirror != "" {
		if err := checkURI(r.Mirror); err != nil {
			return fmt.Errorf("mirror: %w", err)
		}
	}
	if err := checkComponents(r.Components); err != nil {
		return err
	}
	for _, s := range r.Sources {
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

// below returns a path in a file's directory, or an absolute or empty one as it is.
func below(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// readFile returns the content of a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path) // follows a link, and does not wait for a FIFO's writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", path, limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}
