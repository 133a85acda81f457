package images

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Source is an archive of packages beside that of the base, such as a company's. Its
// packages are found under their names, and the archive has to be signed.
//
// The login is used while an image is built. Neither the image nor the cache has it,
// nor does its change make another image.
type Source struct {
	// URI, Suite and Components are those of sources.list(5). A Suite that ends in a
	// slash is a directory of packages, and then there are no Components.
	URI        string   `json:"uri"`
	Suite      string   `json:"suite"`
	Components []string `json:"components,omitempty"`

	// Keyring is the path of the public keys that the archive may be signed with: a .gpg
	// or an armored .asc file.
	Keyring string `json:"keyring"`

	// AuthFile, if not empty, is the path of a file in the form of apt_auth.conf(5), with
	// the login for the URI.
	AuthFile string `json:"authFile,omitempty"`

	// AuthEnv, if not empty, names a variable of the environment that holds USER:PASSWORD.
	// Packages' scripts do not get the variable.
	AuthEnv string `json:"authEnv,omitempty"`
}

func (s Source) check() error {
	if err := checkURI(s.URI); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	flat := strings.HasSuffix(s.Suite, "/")
	switch {
	case !suites.MatchString(s.Suite):
		return fmt.Errorf("source %s: suite %q: want a name, or a path that ends in a slash", s.URI, s.Suite)
	case flat != (len(s.Components) == 0):
		return fmt.Errorf("source %s: want components, or a suite that ends in a slash", s.URI)
	case s.Keyring == "":
		return fmt.Errorf("source %s: want a keyring: an archive has to be signed", s.URI)
	case s.AuthFile != "" && s.AuthEnv != "":
		return fmt.Errorf("source %s: want authFile or authEnv, not both", s.URI)
	}
	if err := checkComponents(s.Components); err != nil {
		return fmt.Errorf("source %s: %w", s.URI, err)
	}
	return nil
}

func checkComponents(list []string) error {
	for _, c := range list {
		if !suites.MatchString(c) {
			return fmt.Errorf("component %q: want a name, such as main", c)
		}
	}
	return nil
}

// checkURI returns an error for a URI that a line of sources.list(5) cannot hold. It
// does not print one that may have a password.
func checkURI(uri string) error {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return errors.New("the URI cannot be parsed")
	case u.User != nil || strings.Contains(u.Host, "@"):
		return errors.New("the URI has a login: give it by AuthFile or AuthEnv of a source")
	case u.Scheme == "" || strings.ContainsAny(uri, " \t\r\n[]\"'\\") || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q: want a URI, such as https://deb.example.org/debian", uri)
	}
	return nil
}

// aptURI returns the URI for apt-get(8) outside the guest's tree: dpkg, inside, could not
// read what a file: URI names.
func (s Source) aptURI() string {
	if path, ok := strings.CutPrefix(s.URI, "file:"); ok {
		return "copy:" + path
	}
	return s.URI
}

// sourceFiles are what a build needs besides mmdebstrap's arguments.
type sourceFiles struct {
	dir  string // in the scratch directory, with a file sources.list and the keys
	auth []byte // in the form of apt_auth.conf(5)
}

// keyFile returns the name of a keyring's copy. apt-get(8) tells the formats apart by it.
func keyFile(i int, path string) string {
	ext := ".gpg"
	if filepath.Ext(path) == ".asc" {
		ext = ".asc"
	}
	return fmt.Sprintf("key%d%s", i, ext)
}

// writeSources writes the plan's sources and keys to a directory below scratch. Their
// reader may be a subordinate user.
func (p *plan) writeSources(scratch string) (*sourceFiles, error) {
	dir := filepath.Join(scratch, "sources")
	if err := os.Mkdir(dir, 0o711); err != nil {
		return nil, fmt.Errorf("write package sources: %w", err)
	}
	f := &sourceFiles{dir: dir}
	write := func(name string, data []byte) error {
		if err := writeReadable(filepath.Join(dir, name), bytes.NewReader(data)); err != nil {
			return fmt.Errorf("write package sources: %w", err)
		}
		return nil
	}
	var list bytes.Buffer
	for i, s := range p.sources {
		key := keyFile(i, s.Keyring)
		fmt.Fprintf(&list, "deb [signed-by=%s] %s %s %s\n", filepath.Join(dir, key), s.aptURI(), s.Suite, strings.Join(s.Components, " "))
		login, err := s.login()
		if err != nil {
			return nil, err
		}
		f.auth = append(f.auth, login...)
		if err := write(key, p.keys[i]); err != nil {
			return nil, err
		}
	}
	if p.recipe.Keyring != "" {
		if err := write(keyFile(len(p.sources), p.recipe.Keyring), p.keys[len(p.sources)]); err != nil {
			return nil, err
		}
	}
	return f, write("sources.list", list.Bytes())
}

// login returns lines of apt_auth.conf(5), or nothing.
func (s Source) login() ([]byte, error) {
	switch {
	case s.AuthFile != "":
		b, err := readFile(s.AuthFile, recipeLimit)
		if err != nil {
			return nil, specErrorf("source %s: read login: %v", s.URI, err)
		}
		return append(b, '\n'), nil
	case s.AuthEnv != "":
		user, password, ok := strings.Cut(os.Getenv(s.AuthEnv), ":")
		if !ok || user == "" || strings.ContainsAny(user+password, " \t\r\n") {
			return nil, specErrorf("source %s: the variable %s of the environment is not USER:PASSWORD without spaces", s.URI, s.AuthEnv)
		}
		return fmt.Appendf(nil, "machine %s login %s password %s\n", s.URI, user, password), nil
	}
	return nil, nil
}

// logins returns a pipe that holds the logins.
func (f *sourceFiles) logins() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pass logins: %w", err)
	}
	go func() { // a pipe holds less than a file of logins may have
		_, _ = w.Write(f.auth) // fails if the reader is gone
		_ = w.Close()
	}()
	return r, nil
}

// withoutLogins returns an environment without the variables that hold logins.
func (p *plan) withoutLogins(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.ContainsFunc(slices.Concat(p.recipe.Sources, p.spec.Sources), func(s Source) bool { return s.AuthEnv == name })
	})
}

// sourceHook copies the sources into the guest's tree before apt-get(8) reads them, and
// the logins from file descriptor 3. The image has nothing of etc/apt.
const sourceHook = `--setup-hook=set -eu
cp "$VMTEST_SOURCES/sources.list" "$1/etc/apt/sources.list.d/vmtest.list"
mkdir -p "$1/etc/apt/auth.conf.d"
umask 077
cat <&3 >"$1/etc/apt/auth.conf.d/vmtest.conf"`
