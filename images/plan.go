package images

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
)

// plan is everything that a build needs to know of an image.
type plan struct {
	spec   Spec // complete
	recipe Recipe
	name   string // of the image in the cache
	inputs string // SHA-256 of what goes into the image; see inputs
}

// inputs are what the content of an image depends on, apart from the packages'
// versions and this program's own way to build, which formatVersion stands for.
type inputs struct {
	Arch, Suite        string
	MainOnly, MergeUsr bool
	BasePackages       []string
	Packages           []string
	NoAutostart        bool
}

// newPlan returns the plan for a complete spec.
func newPlan(s Spec) (*plan, error) {
	recipe, err := findRecipe(s.Base)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(inputs{
		Arch: runtime.GOARCH, Suite: recipe.Suite, MainOnly: recipe.mainOnly, MergeUsr: recipe.MergeUsr,
		BasePackages: packages(), Packages: s.Packages, NoAutostart: s.NoAutostart && s.adds(),
	})
	if err != nil {
		return nil, fmt.Errorf("describe image %s: %w", s.label(), err)
	}
	sum := sha256.Sum256(b)
	p := &plan{spec: s, recipe: recipe, name: recipe.Name, inputs: hex.EncodeToString(sum[:])}
	if s.adds() {
		p.name += addedMark + p.inputs[:16]
	}
	return p, nil
}

// addedMark begins the digest in the name of an image with additions.
const addedMark = "+"

// isAdded reports whether a name in the cache is that of an image with additions. Only
// these are removed when they are unused; see cache.dropUnused.
func isAdded(name string) bool { return strings.Contains(name, addedMark) }
