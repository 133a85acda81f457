package images

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// plan is everything that a build needs to know of an image.
type plan struct {
	spec    Spec // complete
	recipe  Recipe
	sources []Source
	debs    []deb
	keys    [][]byte // the keyrings of sources, and at last that of the recipe if it has one
	name    string   // of the image in the cache
	inputs  string   // SHA-256 of what goes into the image; see inputs
}

// inputs are what the content of an image depends on, apart from the packages'
// versions and this program's own way to build, which formatVersion stands for. They
// have no login. The mirror of a named base is not among them, as all have the same
// packages.
type inputs struct {
	Arch, Suite, Mirror string
	Components          []string
	MainOnly, MergeUsr  bool
	BasePackages        []string
	Packages            []string
	NoAutostart         bool
	Sources             []string
	Depends, Debs       []string // Debs and Keys are SHA-256
	Keys                []string
}

// newPlan returns the plan for a complete spec.
func newPlan(s Spec) (*plan, error) {
	p := &plan{spec: s}
	if s.Recipe != nil {
		p.recipe = *s.Recipe
	} else {
		var err error
		if p.recipe, err = findRecipe(s.Base); err != nil {
			return nil, err
		}
	}
	p.sources = slices.Clone(p.recipe.Sources)
	if s.adds() {
		p.sources = append(p.sources, s.Sources...)
	}
	if err := p.readKeys(); err != nil {
		return nil, err
	}
	debs, err := readDebs(s.Debs)
	if err != nil {
		return nil, err
	}
	p.debs = debs
	in := inputs{
		Arch: runtime.GOARCH, Suite: p.recipe.Suite, Mirror: p.recipe.Mirror, Components: p.recipe.Components,
		MainOnly: p.recipe.mainOnly, MergeUsr: p.recipe.MergeUsr,
		BasePackages: packages(p.recipe.Kernel), Packages: s.Packages, Depends: s.depends, NoAutostart: s.NoAutostart && s.adds(),
	}
	for _, source := range p.sources {
		in.Sources = append(in.Sources, fmt.Sprintf("%s %s %q", source.URI, source.Suite, source.Components))
	}
	for _, d := range p.debs {
		in.Debs = append(in.Debs, d.sha256)
	}
	for _, key := range p.keys {
		in.Keys = append(in.Keys, digest(key))
	}
	b, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("describe image %s: %w", s.label(), err)
	}
	p.name, p.inputs = p.recipe.Name, digest(b)
	if s.Recipe != nil || s.adds() {
		p.name += addedMark + p.inputs[:16]
	}
	return p, nil
}

func (p *plan) readKeys() error {
	var paths []string
	for _, s := range p.sources {
		paths = append(paths, s.Keyring)
	}
	if p.recipe.Keyring != "" {
		paths = append(paths, p.recipe.Keyring)
	}
	for _, path := range paths {
		key, err := readFile(path, fileLimit)
		if err != nil {
			return specErrorf("read keyring: %v", err)
		}
		p.keys = append(p.keys, key)
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// addedMark begins the digest in the name of an image that is not one of Names.
const addedMark = "+"

// isAdded reports whether a name in the cache is that of an image with additions, or of
// another recipe. Only these are removed when they are unused; see cache.dropUnused.
func isAdded(name string) bool { return strings.Contains(name, addedMark) }
