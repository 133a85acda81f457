package vmtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f", sourcesOf, pkg)
	cmd.Env = buildEnv(arch)
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("list what %s is built from: %w", pkg, err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' }), nil
}

// buildEnv is the go command's environment for a static program of a guest.
func buildEnv(arch string) []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=",
		// The emulated processors know no more, whatever the host's does.
		"GOAMD64=v1", "GOARM64=v8.0")
}
