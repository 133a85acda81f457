package images

import (
	"runtime"
	"strings"
)

// simulateHook returns a setup hook that fetches the package lists and lets apt-get(8) look
// for a set of packages to install. A package that is not there, a version that does not
// exist, or a conflict then ends the build in seconds. Otherwise apt-get would report it
// after the essential packages were installed.
//
// mmdebstrap sees that the lists are there. Versions before 1.3 fetch them again. The option
// --print-uris ends apt-get after its search, and takes half the time of --simulate.
func (b *builder) simulateHook() string {
	list := append(packages(b.recipe.Kernel), b.spec.Packages...)
	hook := `--setup-hook=set -eu
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
cd "$1"
apt-get update --error-on=any >&2
simulate() {
	out=$(apt-get --yes --print-uris "$@" 2>&1) || { printf '%s\n' "$out" >&2; exit 1; }
}
simulate install '` + essential(b.recipe.Suite) + `' ` + strings.Join(list, " ")
	if len(b.spec.depends) > 0 {
		hook += "\nsimulate satisfy '" + strings.Join(append(relationsOf(list), b.spec.depends...), ", ") + "'"
	}
	return hook
}

// essential returns the pattern of apt-patterns(7) by which mmdebstrap selects the essential
// packages of a suite.
func essential(suite string) string {
	return "?narrow(?or(?archive(^" + suite + "$),?codename(^" + suite + "$)),?architecture(" + runtime.GOARCH + "),?essential)"
}

// relationsOf returns packages in the form of the field Depends. A suite is left out.
func relationsOf(list []string) []string {
	var relations []string
	for _, p := range list {
		name, _, _ := strings.Cut(p, "/")
		if name, version, ok := strings.Cut(name, "="); ok {
			p = name + " (= " + version + ")"
		} else {
			p = name
		}
		relations = append(relations, p)
	}
	return relations
}
