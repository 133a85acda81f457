package images

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
)

// Spec describes an image: a base, and what is added to it.
type Spec struct {
	// Base is one of [Names], or the name of an image that was imported, or a path, which
	// has a slash: of the file of a [Recipe], or of an image's directory. An image that
	// was imported, or a directory, takes none of the fields below.
	Base string

	// Recipe, if not nil, describes the base. Then Base is empty.
	Recipe *Recipe

	// Packages are added with their dependencies, but without the packages that they
	// only recommend. Each is NAME, NAME=VERSION or NAME/SUITE, as apt-get(8) takes them.
	// Neither order nor duplicates matter.
	Packages []string

	// Debs are the paths of package files (.deb) to install, such as the author's own.
	// What they depend on comes from the archive. A change of a file's content makes
	// another image, which takes seconds.
	Debs []string

	// NoAutostart leaves the units of added packages disabled. Otherwise they are as
	// the distribution leaves them, which for Debian means enabled: they start at boot.
	// Links that a package ships below /usr are part of it and stay.
	NoAutostart bool

	// Sources are further archives for Packages and what these depend on.
	Sources []Source

	depends []string // further clauses as in the field Depends; see deb-control(5)
}

// SpecError reports a [Spec] that describes no image. Nothing was built.
type SpecError struct {
	Cause string // one line
}

func (e *SpecError) Error() string { return e.Cause }

func specErrorf(format string, args ...any) *SpecError {
	return &SpecError{Cause: tail.Printable(fmt.Sprintf(format, args...))}
}

// named returns the spec of an image without additions.
func named(name string) Spec { return Spec{Base: name} }

// label returns what a person reads as the image's name.
func (s Spec) label() string {
	const most = 4
	added := append(slices.Clone(s.Packages), s.depends...)
	for _, path := range s.Debs {
		added = append(added, filepath.Base(path))
	}
	base := s.Base
	if s.Recipe != nil {
		base = s.Recipe.Name
	}
	if len(added) == 0 {
		return base
	}
	if more := len(added) - most; more > 0 {
		added = append(added[:most], fmt.Sprintf("%d more", more))
	}
	return base + " with " + strings.Join(added, ", ")
}

// packageArgs match the packages that a spec may have. mmdebstrap and apt-get(8) would
// take others too, such as patterns, and "a-" to remove the package a.
var packageArgs = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+](:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+|/[A-Za-z0-9][A-Za-z0-9.-]*)?$`)

// complete checks a spec, reads the file of a recipe, and puts lists in order.
func (s Spec) complete() (Spec, error) {
	if s.Base != "" && s.Recipe != nil {
		return s, specErrorf("describe image: base %q and recipe %q: want one of them", s.Base, s.Recipe.Name)
	}
	if info, err := os.Stat(s.Base); IsPath(s.Base) && err == nil && !info.IsDir() {
		recipe, err := readRecipe(s.Base)
		if err != nil {
			return s, err
		}
		s.Base, s.Recipe = "", &recipe
	} else if s.Recipe != nil {
		if err := s.Recipe.check(); err != nil {
			return s, specErrorf("describe image: recipe: %v", err)
		}
	}
	for _, p := range s.Packages {
		if !packageArgs.MatchString(p) {
			return s, specErrorf("add package %q to %s: want NAME, NAME=VERSION or NAME/SUITE", p, Spec{Base: s.Base, Recipe: s.Recipe}.label())
		}
	}
	for _, source := range s.Sources {
		if err := source.check(); err != nil {
			return s, specErrorf("describe image: %v", err)
		}
	}
	s.Packages = sorted(s.Packages)
	if IsPath(s.Base) || s.imported() {
		if wish := s.wish(); wish != "" {
			return s, specErrorf("%s %s: only images that are built take that: leave it out, or use %s or a recipe",
				wish, s.Base, strings.Join(Names(), ", "))
		}
	}
	return s, nil
}

// wish returns what a spec asks for besides its base, as the beginning of an error, or "".
func (s Spec) wish() string {
	switch {
	case len(s.Packages)+len(s.depends) > 0:
		return "add packages to"
	case len(s.Debs) > 0:
		return "add package files to"
	case len(s.Sources) > 0:
		return "add sources of packages to"
	case s.NoAutostart:
		return "set NoAutostart for"
	}
	return ""
}

// Key returns a text that is equal for specs that describe the same image.
func (s Spec) Key() (string, error) {
	s, err := s.complete()
	if err != nil || IsPath(s.Base) || s.imported() {
		return s.Base, err
	}
	p, err := newPlan(s)
	if err != nil {
		return "", err
	}
	return p.name + " " + p.inputs, nil
}

// adds reports whether the image has more than its base.
func (s Spec) adds() bool { return len(s.Packages)+len(s.Debs)+len(s.depends) > 0 }

// sorted returns a copy of list in order and without duplicates, and nil if it is empty.
func sorted(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
