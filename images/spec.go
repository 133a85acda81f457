package images

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
)

// Spec describes an image: a base, and what is added to it.
type Spec struct {
	// Base is one of [Names], or the path of an image's directory, which has a slash.
	// Nothing can be added to the latter.
	Base string

	// Packages are added with their dependencies, but without the packages that they
	// only recommend. Each is NAME, NAME=VERSION or NAME/SUITE, as apt-get(8) takes them.
	// Neither order nor duplicates matter.
	Packages []string

	// NoAutostart leaves the units of added packages disabled. Otherwise they are as
	// the distribution leaves them, which for Debian means enabled: they start at boot.
	NoAutostart bool
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
	added := slices.Clone(s.Packages)
	if len(added) == 0 {
		return s.Base
	}
	if more := len(added) - most; more > 0 {
		added = append(added[:most], fmt.Sprintf("%d more", more))
	}
	return s.Base + " with " + strings.Join(added, ", ")
}

// packageArgs match the packages that a spec may have. mmdebstrap and apt-get(8) would
// take others too, such as patterns, and "a-" to remove the package a.
var packageArgs = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+](:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+|/[A-Za-z0-9][A-Za-z0-9.-]*)?$`)

// complete checks a spec and puts its lists in order.
func (s Spec) complete() (Spec, error) {
	for _, p := range s.Packages {
		if !packageArgs.MatchString(p) {
			return s, specErrorf("add package %q to %s: want NAME, NAME=VERSION or NAME/SUITE", p, s.Base)
		}
	}
	s.Packages = sorted(s.Packages)
	if IsPath(s.Base) && s.adds() {
		return s, specErrorf("add packages to %s: only images that are built by name take them: %s",
			s.Base, strings.Join(Names(), ", "))
	}
	return s, nil
}

// Key returns a text that is equal for specs that describe the same image.
func (s Spec) Key() (string, error) {
	s, err := s.complete()
	if err != nil || IsPath(s.Base) {
		return s.Base, err
	}
	p, err := newPlan(s)
	if err != nil {
		return "", err
	}
	return p.name + " " + p.inputs, nil
}

// adds reports whether the image has more than its base.
func (s Spec) adds() bool { return len(s.Packages) > 0 }

// sorted returns a copy of list in order and without duplicates, and nil if it is empty.
func sorted(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
