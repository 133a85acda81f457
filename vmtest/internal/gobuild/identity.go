package gobuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// identity returns the digest of all that makes a program what it is: the content of its
// sources and of those it imports, the Go version of each module, the flags, and the
// toolchain. Unlike the executable, it is the same in each module that the program is
// built in: the go command writes the main module and its replacements into an
// executable, and the versions of modules into the paths there. With modules it has these
// too, so that it stands for the executable.
func identity(ctx context.Context, pkg, arch string, modules bool) (string, error) {
	type result struct {
		text string
		err  error
	}
	toolchain := make(chan result, 1)
	go func() {
		out, err := goCommand(ctx, buildEnv(pkg, arch), "env", "GOVERSION", "GOEXPERIMENT", "GOFIPS140", "GOFLAGS", "GOAMD64", "GOARM64")
		toolchain <- result{string(out), err}
	}()
	lines, err := sources(ctx, pkg, arch)
	tool := <-toolchain
	if err != nil {
		return "", err
	}
	if tool.err != nil {
		return "", fmt.Errorf("find the version of Go: %w", tool.err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q\n", arch, buildFlags, tool.text)
	for _, line := range lines {
		profile, isProfile := strings.CutPrefix(line, profileMark)
		if isProfile && exists(profile) {
			line = profile // "go help build", -pgo
		}
		switch {
		case isProfile && line != profile:
		case filepath.IsAbs(line):
			data, err := os.ReadFile(line) // go test sees that, as in noteSources
			if err != nil {
				return "", fmt.Errorf("read sources of %s: %w", pkg, err)
			}
			_, name, _ := strings.Cut(line, inPackage)
			fmt.Fprintf(h, "%q %x\n", name, sha256.Sum256(data))
		case modules || !strings.HasPrefix(line, moduleMark):
			fmt.Fprintf(h, "%q\n", line)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Stamp returns a text that changes if what [Program] returns changes.
// It takes half as long, because it builds nothing if it need not.
func Stamp(ctx context.Context, pkg, arch string, notice func(string)) (string, error) {
	if os.Getenv("VMTEST_GO_PREBUILT") == "" {
		flags, err := goCommand(ctx, buildEnv(pkg, arch), "env", "GOFLAGS")
		if err != nil {
			return "", fmt.Errorf("read GOFLAGS: %w", err)
		}
		if !namesFiles(string(flags)) {
			_ = os.Getenv("GOFLAGS") // go test records this, too
			return identity(ctx, pkg, arch, true)
		}
	}
	program, err := Program(ctx, pkg, arch, notice)
	return digest(program), err
}

// namesFiles reports whether flags in GOFLAGS name files that go list does not list.
func namesFiles(goflags string) bool {
	for _, flag := range []string{"-overlay", "-toolexec", "-pgo"} {
		if strings.Contains(goflags, flag) {
			return true
		}
	}
	return false
}

// identical returns the executable of pkg in dir that some module has built of the same
// sources, and builds it if there is none. So all modules share its bytes.
func identical(ctx context.Context, dir, pkg, arch string) ([]byte, error) {
	for {
		id, err := identity(ctx, pkg, arch, false)
		if err != nil {
			return nil, err
		}
		data, err := builtOnce(ctx, filepath.Join(dir, id[:24]), pkg, arch, id)
		if err != nil || data != nil {
			return data, err
		}
	}
}

// builtOnce returns the executable at out, and builds it if it is missing or altered. It
// returns nil if the sources changed during the build, and their identity is id no more.
func builtOnce(ctx context.Context, out, pkg, arch, id string) ([]byte, error) {
	return locked(ctx, out, pkg, func() ([]byte, error) {
		data, err := os.ReadFile(out)
		sum, sumErr := os.ReadFile(out + digestSuffix)
		if err == nil && sumErr == nil && digest(data) == string(sum) {
			return data, nil
		}
		if data, err = buildKept(ctx, pkg, arch, out); err != nil {
			return nil, err
		}
		switch now, err := identity(ctx, pkg, arch, false); {
		case err != nil:
			return nil, err
		case now != id:
			return nil, removeProgram(out)
		}
		return data, nil
	})
}
