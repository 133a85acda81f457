package images

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/rootfs"
	"example.org/systemd-vmtest/internal/tail"
)

const (
	maxProgram  = 64 << 20 // bytes of a program that is searched for its version
	maxDatabase = 64 << 20 // bytes of a database of packages
)

// examine returns what the manifest tells about a guest, except for its kernel. The error
// is an *ImportError if a tree is not the root file system of a guest for arch.
func examine(ctx context.Context, t *rootfs.Tree, arch string) (Manifest, error) {
	m := Manifest{Imported: t.Kind, Arch: arch}
	program, err := systemdProgram(t)
	if err != nil {
		return m, err
	}
	if err := checkInit(t, program); err != nil {
		return m, err
	}
	text, err := t.ReadFile(program, maxProgram)
	if err != nil {
		return m, &ImportError{Cause: "its systemd cannot be read: " + err.Error(), Err: err}
	}
	if err := checkMachine(text, arch, program); err != nil {
		return m, err
	}
	if m.Packages, err = installed(ctx, t); err != nil {
		return m, err
	}
	version := programVersion(text)
	if m.SystemdVersion, m.SystemdMajor, err = systemdVersion([]Package{{Name: "systemd", Version: version}}); err != nil {
		return m, &ImportError{Cause: fmt.Sprintf("the version of /%s is not known", program), Err: err}
	}
	release := osRelease(t)
	m.Distribution = oneLine(cmp.Or(release["PRETTY_NAME"], release["NAME"], "unknown distribution"))
	m.Suite = oneLine(cmp.Or(release["VERSION_CODENAME"], release["VERSION_ID"], release["BUILD_ID"]))
	m.Units, m.Bin = unitDir(t), binDir(t)
	m.Lacks = lacks(t)
	return m, nil
}

// systemdProgram returns the path of systemd's program in a tree, without links.
func systemdProgram(t *rootfs.Tree) (string, error) {
	usual := []string{"usr/lib/systemd/systemd", "lib/systemd/systemd", "sbin/init"}
	for _, name := range usual {
		n, found, err := t.Lookup(name)
		if err == nil && n.Executable() && path.Base(found) == "systemd" {
			return found, nil
		}
	}
	root, _, _ := t.Lookup("/") // there always is one
	for _, name := range root.Names() {
		if t.Has(path.Join(name, usual[0])) {
			return "", &ImportError{Cause: fmt.Sprintf("it has no systemd: looked at /%s and /%s", usual[0], usual[1]),
				Cure: fmt.Sprintf("there is one below %q: import that directory, or an archive of it", name)}
		}
	}
	return "", &ImportError{Cause: fmt.Sprintf("it has no systemd: looked at /%s and /%s", usual[0], usual[1]),
		Cure: "install it there, for example the packages systemd and systemd-sysv of Debian; images for containers often lack it"}
}

// checkInit returns an error unless /sbin/init starts the given systemd. It may be a
// script that does.
func checkInit(t *rootfs.Tree, systemd string) error {
	const cure = "link it to systemd's program, as the package systemd-sysv of Debian and systemd-sysvcompat of Arch do"
	n, found, err := t.Lookup("sbin/init")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &ImportError{Cause: "it has no /sbin/init", Cure: cure, Err: err}
	case err != nil:
		return &ImportError{Cause: "its /sbin/init cannot be followed: " + err.Error(), Cure: cure, Err: err}
	case !n.Executable():
		return &ImportError{Cause: "its /sbin/init is not a program", Cure: cure}
	}
	begin := make([]byte, 2)
	if _, err := t.Content(n).ReadAt(begin, 0); found != systemd && (err != nil || string(begin) != "#!") {
		return &ImportError{Cause: fmt.Sprintf("its /sbin/init is /%s and not systemd", found), Cure: cure}
	}
	return nil
}

// checkMachine returns an error unless a program is an ELF file for a processor (elf(5)).
func checkMachine(text []byte, arch, name string) error {
	machines := map[[2]byte]string{{62, 0}: "amd64", {183, 0}: "arm64", {3, 0}: "386", {40, 0}: "arm", {243, 0}: "riscv64",
		{21, 0}: "ppc64le", {0, 22}: "s390x", {22, 0}: "s390x", {0, 21}: "ppc64"}
	if len(text) < 20 || !bytes.HasPrefix(text, []byte("\x7fELF")) {
		return &ImportError{Cause: fmt.Sprintf("/%s is not a program", name)}
	}
	machine := [2]byte(text[18:20])
	if got := cmp.Or(machines[machine], fmt.Sprintf("another processor (ELF machine %d)", int(machine[0])|int(machine[1])<<8)); got != arch {
		return &ImportError{Cause: fmt.Sprintf("it is for %s, and guests of this host are for %s", got, arch),
			Cure: "give one that was made for " + arch}
	}
	return nil
}

// Where systemd's program has its version: in the line that it logs first, and in the
// names of its libraries.
var (
	runningText = regexp.MustCompile(`systemd (\d[0-9A-Za-z.~+:-]*) running in %`)
	sharedText  = regexp.MustCompile(`libsystemd-(?:shared|core)-(\d[0-9A-Za-z.~+:-]*)\.so`)
)

// programVersion returns the version of systemd's program, or "".
func programVersion(text []byte) string {
	for _, re := range []*regexp.Regexp{runningText, sharedText} {
		if m := re.FindSubmatch(text); m != nil {
			return string(m[1])
		}
	}
	return ""
}

func osRelease(t *rootfs.Tree) map[string]string {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		if b, err := t.ReadFile(name, 1<<20); err == nil {
			return host.ParseOSRelease(b)
		}
	}
	return nil
}

// installed returns the packages in the database of dpkg or pacman. That of RPM is not
// read.
func installed(ctx context.Context, t *rootfs.Tree) ([]Package, error) {
	if b, err := t.ReadFile("var/lib/dpkg/status", maxDatabase); err == nil {
		return printablePackages(parseStatus(b)), nil
	}
	const local = "var/lib/pacman/local"
	dir, _, err := t.Lookup(local)
	if err != nil {
		return []Package{}, nil
	}
	list, size := []Package{}, 0
	for _, name := range dir.Names() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		b, err := t.ReadFile(path.Join(local, name, "desc"), 1<<20)
		if err != nil {
			continue // one file has the version of the database
		}
		// A hard link in many directories would be as much text, and hardly any archive.
		if size += len(b); size > maxDatabase {
			return nil, &ImportError{Cause: fmt.Sprintf("the packages in /%s are described by more than %d MiB", local, maxDatabase>>20),
				Cure: "empty that directory if the guest does without pacman"}
		}
		if p := parseDesc(b); p.Name != "" {
			list = append(list, p)
		}
	}
	return printablePackages(list), nil
}

// parseDesc returns the package that a desc file of pacman's database describes: a line
// %NAME%, a line with the name, and so on.
func parseDesc(b []byte) Package {
	var p Package
	fields := map[string]*string{"%NAME%": &p.Name, "%VERSION%": &p.Version, "%ARCH%": &p.Arch}
	lines := strings.Split(string(b), "\n")
	for i := range len(lines) - 1 {
		if field := fields[lines[i]]; field != nil {
			*field = strings.Clone(lines[i+1]) // and not the whole file with it
		}
	}
	return p
}

func printablePackages(list []Package) []Package {
	for i, p := range list {
		list[i] = Package{oneLine(p.Name), oneLine(p.Version), oneLine(p.Arch)}
	}
	slices.SortFunc(list, func(a, b Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Arch, b.Arch))
	})
	return list
}

// oneLine returns a text of the guest as a manifest may have it.
func oneLine(s string) string {
	return tail.Printable(strings.NewReplacer("\t", " ", "\n", " ").Replace(s))
}
