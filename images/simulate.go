package images

import (
	"runtime"
	"strings"
)

// simulateHook returns a setup hook that fetches the package lists and lets apt-get(8) look
// for the packages of each step of the build. A package that is not there, a version that
// does not exist, or a conflict then ends the build in seconds. Otherwise apt-get would
// report it after the essential packages were installed.
//
// mmdebstrap sees that the lists are there. Versions before 1.3 fetch them again.
func (b *builder) simulateHook() string {
	steps := append([]string{"install '" + essential(b.recipe.Suite) + "'", "install " + strings.Join(b.include(), " ")}, b.installs()...)
	last := len(steps) - 1
	return simulation + "record " + strings.Join(steps[:last], "\nrecord ") + "\nlook " + steps[last] + "\nrm -r \"$state\""
}

// simulation begins a hook with two functions. The function look runs a command of apt-get
// as far as its search for packages. The function record also adds the packages to those
// that later commands find installed. A status file is made of their entries in the package
// lists.
const simulation = `--setup-hook=set -eu
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
cd "$1"
apt-get update --error-on=any >&2
state=$1/var/lib/apt/vmtest
mkdir "$state"
touch "$state/status" "$state/versions"
apt() {
	cmd=$1
	shift
	"$cmd" -o Dir::State::status="$state/status" -o Dir::Cache::pkgcache= "$@"
}
look() {
	apt apt-get --yes --print-uris "$@" >"$state/out" 2>&1 || { cat "$state/out" >&2; exit 1; }
}
record() {
	apt apt-get --yes --simulate "$@" >"$state/out" 2>&1 || { cat "$state/out" >&2; exit 1; }
	awk '
		/^Remv / { delete version[$2] }
		/^Inst / { name = $2; sub(/^[^(]*\(/, ""); version[name] = $1 }
		/^[^ ]+=[^ ]+$/ { split($0, part, "="); version[part[1]] = part[2] }
		END { for (name in version) print name "=" version[name] }
	' "$state/versions" "$state/out" >"$state/new"
	mv "$state/new" "$state/versions"
	# Not in a pipeline, which a shell of POSIX lets fail unseen.
	xargs apt-cache show --no-all-versions <"$state/versions" >"$state/shown"
	sed 's/^Package: /Status: install ok installed\n&/' "$state/shown" >"$state/status"
}
`

// essential returns the pattern of apt-patterns(7) by which mmdebstrap selects the essential
// packages of a suite.
func essential(suite string) string {
	return "?narrow(?or(?archive(^" + suite + "$),?codename(^" + suite + "$)),?architecture(" + runtime.GOARCH + "),?essential)"
}
