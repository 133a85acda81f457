package gobuild

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sourcesOf is a template for go list. It prints what a package is, after a "#", its module
// as debug.ReadBuildInfo shows it, after an "@", the profile that a command may have, after a
// "?", and the files that it is built from, unless the package is in the standard library.
const sourcesOf = `{{if not .Standard}}{{$dir := .Dir}}` +
	`# {{.ImportPath}} go{{with .Module}}{{.GoVersion}}{{end}} {{.DefaultGODEBUG}}{{"\n"}}` +
	moduleMark + `{{with .Module}}{{.Path}} {{.Version}}{{with .Replace}} => {{.Path}} {{.Version}}{{end}}{{end}}{{"\n"}}` +
	`{{if eq .Name "main"}}` + profileMark + `{{$dir}}` + inPackage + `default.pgo{{"\n"}}{{end}}` +
	`{{range .GoFiles}}{{$dir}}` + inPackage + `{{.}}{{"\n"}}{{end}}` +
	`{{range .SFiles}}{{$dir}}` + inPackage + `{{.}}{{"\n"}}{{end}}` +
	`{{range .HFiles}}{{$dir}}` + inPackage + `{{.}}{{"\n"}}{{end}}` +
	`{{range .SysoFiles}}{{$dir}}` + inPackage + `{{.}}{{"\n"}}{{end}}` +
	`{{range .EmbedFiles}}{{$dir}}` + inPackage + `{{.}}{{"\n"}}{{end}}{{end}}`

// These begin the lines of a module, and of a profile, and divide the path of a file into
// its package's directory and its name there.
const (
	moduleMark  = "@ "
	profileMark = "? "
	inPackage   = "/./"
)

// noteSources looks at each file that pkg is built from. go test caches the result of a
// test until a file changes that the test process itself has looked at (go help test).
// It does not see which files the go command reads in the build.
func noteSources(ctx context.Context, pkg, arch string) error {
	_ = os.Getenv("GOFLAGS") // go test records this, too
	lines, err := sources(ctx, pkg, arch)
	if err != nil {
		return err
	}
	for _, path := range lines {
		if !filepath.IsAbs(path) { // of a package or a module
			continue
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("check sources of %s: %w", pkg, err)
		}
	}
	return nil
}

// sources returns the lines of sourcesOf for pkg and the packages that it imports.
func sources(ctx context.Context, pkg, arch string) ([]string, error) {
	args := slices.Concat([]string{"list"}, buildFlags, []string{"-deps", "-f", sourcesOf, pkg})
	out, err := goCommand(ctx, buildEnv(pkg, arch), args...)
	if err != nil {
		return nil, fmt.Errorf("list sources of %s: %w", pkg, err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' }), nil
}

// buildFlags make the go command build a static executable. They override those flags
// in GOFLAGS that need cgo, a C library or a loader.
var buildFlags = []string{
	"-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-buildmode=default",
	"-race=false", "-msan=false", "-asan=false", "-linkshared=false",
}

// buildEnv returns the environment of the go command for a static executable. Flags of
// the user such as -tags and -modfile still apply through GOFLAGS, because a test should
// run the program that go build makes.
func buildEnv(pkg, arch string) []string {
	env := append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch,
		// The emulated processors support no more than these.
		"GOAMD64=v1", "GOARM64=v8.0")
	if pkg == agentPackage {
		// With other flags the agent would differ and need other snapshots. An
		// empty GOFLAGS would not override that of go env -w.
		env = append(env, "GOFLAGS=-trimpath")
	}
	return env
}
