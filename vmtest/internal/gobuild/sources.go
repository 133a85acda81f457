package gobuild

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// sourcesOf is go list's template for the files that a package is built from, of
// whatever module it is; those of the standard library are left out.
const sourcesOf = `{{if not .Standard}}{{$dir := .Dir}}` +
	`{{range .GoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}` +
	`{{range .SFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}` +
	`{{range .EmbedFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{end}}`

// noteSources lets go test know what a program was built from: it caches the result
// of a test until a file changes that the test itself has looked at (go help test),
// and would not see a change of a program that another process builds.
func noteSources(ctx context.Context, pkg, arch string) error {
	_ = os.Getenv("GOFLAGS") // go test notes that, too
	files, err := sources(ctx, pkg, arch)
	if err != nil {
		return err
	}
	for _, path := range files {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("look at what %s is built from: %w", pkg, err)
		}
	}
	return nil
}

// sources lists the files that a program is built from, those of the packages that it
// needs included.
func sources(ctx context.Context, pkg, arch string) ([]string, error) {
	args := slices.Concat([]string{"list"}, buildFlags, []string{"-deps", "-f", sourcesOf, pkg})
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = buildEnv(pkg, arch)
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("list what %s is built from: %w", pkg, err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' }), nil
}

// buildFlags are the go command's for a static program of a guest. They win over those
// in GOFLAGS, of which some would have it need cgo, a C library or a loader.
var buildFlags = []string{
	"-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-buildmode=default",
	"-race=false", "-msan=false", "-asan=false", "-linkshared=false",
}

// buildEnv is the go command's environment for a static program of a guest. Flags of
// the user's such as -tags and -modfile stay in force through GOFLAGS: a test is to
// have the program that go build makes.
func buildEnv(pkg, arch string) []string {
	env := append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch,
		// The emulated processors know no more, whatever the host's does.
		"GOAMD64=v1", "GOARM64=v8.0")
	if pkg == agentPackage {
		// Another agent would only take other snapshots. An empty GOFLAGS counts
		// as none, and lets that of go env -w through.
		env = append(env, "GOFLAGS=-trimpath")
	}
	return env
}
