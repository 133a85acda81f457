package images

import (
	"bufio"
	"cmp"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
)

// mergeUsr returns a hook that does what Debian's installer does before the first
// package. mmdebstrap's own hook needs a package that is new in bookworm.
func mergeUsr() string {
	links := "bin sbin lib"
	if runtime.GOARCH == "amd64" {
		links += " lib32 lib64 libx32"
	}
	return `for d in ` + links + `; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done`
}

// mmdebstrapArgs returns the arguments for mmdebstrap to write a guest's tree to its
// standard output. The directory has the files of writeSources.
func (b *builder) mmdebstrapArgs(sources string) []string {
	args := []string{
		mode, "--variant=essential", "--format=tar", "--verbose",
		"--include=" + strings.Join(b.include(), ","),
	}
	if b.recipe.MergeUsr {
		args = append(args, "--setup-hook="+mergeUsr())
	}
	mirror := cmp.Or(b.recipe.Mirror, b.mirror)
	if b.recipe.mainOnly && mirror == "" {
		args = append(args, `--setup-hook=sed -i '/-updates /d; /-security /d' "$1"/etc/apt/sources.list`)
	}
	if len(b.recipe.Components) > 0 {
		args = append(args, "--components="+strings.Join(b.recipe.Components, ","))
	}
	if b.recipe.Keyring != "" {
		args = append(args, "--keyring="+filepath.Join(sources, keyFile(len(b.sources), b.recipe.Keyring)))
	}
	if len(b.sources) > 0 {
		args = append(args, sourceHook)
	}
	args = append(args, b.simulateHook())
	if b.allowExpired {
		args = append(args, `--aptopt=Acquire::Check-Valid-Until "false"`)
	}
	args = append(args, b.hooks()...)
	args = append(args, b.recipe.Suite, "-")
	if mirror != "" {
		args = append(args, mirror)
	}
	return args
}

// include returns the packages that mmdebstrap installs at once.
func (b *builder) include() []string {
	list := packages(b.recipe.Kernel)
	if b.spec.NoAutostart {
		return list
	}
	return append(list, b.spec.Packages...)
}

// installs returns the commands of apt-get(8), without its name, that install what comes
// after that.
func (b *builder) installs() []string {
	var commands []string
	if b.spec.NoAutostart && len(b.spec.Packages) > 0 {
		commands = append(commands, "install "+strings.Join(b.spec.Packages, " "))
	}
	if len(b.spec.depends) > 0 {
		commands = append(commands, "satisfy '"+strings.Join(b.spec.depends, ", ")+"'")
	}
	return commands
}

// hooks returns the arguments for what happens after that.
func (b *builder) hooks() []string {
	installs := b.installs()
	if installs == nil {
		return nil
	}
	var commands []string
	for _, install := range installs {
		commands = append(commands, aptInChroot+" "+install)
	}
	hook := "set -eu\n" + strings.Join(commands, "\n")
	if b.spec.NoAutostart {
		hook = withoutNewUnits(strings.Join(commands, "\n"))
	}
	return []string{"--customize-hook=" + hook}
}

// mode is an option of mmdebstrap. It gives the tree's processes a PID namespace of their
// own, root's too, so that nothing that a package's script starts outlives the build.
const mode = "--mode=unshare"

// toolEnv returns this process's environment, so that proxy variables reach apt, with
// other values for what a build must not take from it.
func toolEnv(scratch string, epoch int64) []string {
	return append(os.Environ(),
		"PATH="+host.ToolPath(),
		"LC_ALL=C.UTF-8",
		"TMPDIR="+scratch,
		"SOURCE_DATE_EPOCH="+strconv.FormatInt(epoch, 10),
		// Debian's kernel hook then makes no initrd. It would take a third of the
		// build's time, and nothing uses it.
		"INITRD=No",
	)
}

// tailKept is how much of a tool's output an error has, in bytes.
const tailKept = 4 << 10

// watchOutput reads mmdebstrap's output, keeps its end and reports progress. It
// returns when the stream ends.
func watchOutput(in io.Reader, end *tail.Buffer, r *reporter) {
	stages := []struct {
		prefix string
		stage  Stage
	}{
		{"I: running apt-get update", Resolving},
		{"I: downloading packages", Downloading},
		{"I: extracting archives", Installing},
		{"I: installing", Installing},
		{"I: skipping update", Installing},          // of package files
		{"I: running --customize-hook", Installing}, // of packages too
		{"I: creating tarball", Packing},
	}
	total := regexp.MustCompile(`^\d+ upgraded, (\d+) newly installed`)
	now := Progress{Stage: Resolving}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r ")
		_, _ = end.Write([]byte(line + "\n"))
		for _, s := range stages {
			if strings.HasPrefix(line, s.prefix) {
				now = Progress{Stage: s.stage, Total: now.Total}
			}
		}
		if m := total.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			now = Progress{Stage: Downloading, Total: n}
		}
		switch {
		case now.Stage == Resolving:
		case strings.HasPrefix(line, "Get:"):
			now.Stage = Downloading
			now.Done++
		case strings.HasPrefix(line, "Preparing to unpack ") && now.Stage == Downloading:
			now = Progress{Stage: Installing, Total: now.Total}
		case strings.HasPrefix(line, "Setting up "):
			if now.Stage == Downloading {
				now = Progress{Stage: Installing, Total: now.Total}
			}
			now.Done++
		}
		now.Done = min(now.Done, now.Total)
		now.Text = tail.Printable(line)
		r.report(now)
	}
	// A line beyond the buffer ends the scan; mmdebstrap must not block on it.
	_, _ = io.Copy(end, in)
}
