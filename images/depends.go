package images

import (
	"context"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// missing returns what packages need of others: the clauses of their Depends that
// neither one of them nor an installed package satisfies. apt-get(8) finds the packages
// for these.
func missing(ctx context.Context, list []control, installed []Package) []string {
	var own []string
	for _, c := range list {
		own = append(append(own, c.name), c.provides...)
	}
	var clauses []string
	for _, c := range list {
		for _, clause := range c.depends {
			satisfied := slices.ContainsFunc(strings.Split(clause, "|"), func(relation string) bool {
				return slices.Contains(own, relationName(relation)) || isInstalled(ctx, relation, installed)
			})
			if !satisfied {
				clauses = append(clauses, clause)
			}
		}
	}
	return sorted(clauses)
}

// versioned matches a relation with a version, such as "libc6 (>= 2.34)".
var versioned = regexp.MustCompile(`^\s*\S+\s*\(\s*(<<|<=|=|>=|>>)\s*([^\s()]+)\s*\)\s*$`)

// isInstalled reports whether a package satisfies a relation. It need not find all that
// do, such as those that provide another.
func isInstalled(ctx context.Context, relation string, installed []Package) bool {
	name := relationName(relation)
	i := slices.IndexFunc(installed, func(p Package) bool { return p.Name == name })
	if i < 0 {
		return false
	}
	m := versioned.FindStringSubmatch(relation)
	if m == nil {
		return !strings.ContainsAny(relation, "(<[")
	}
	return exec.CommandContext(ctx, "dpkg", "--compare-versions", installed[i].Version, m[1], m[2]).Run() == nil
}
