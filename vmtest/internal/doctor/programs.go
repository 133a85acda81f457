package doctor

import (
	"cmp"
	"context"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
)

// missing returns the tools that this host lacks and that match.
func missing(match func(host.Tool) bool) []host.Tool {
	var list []host.Tool
	for _, t := range host.Missing() {
		if match(t) {
			list = append(list, t)
		}
	}
	return list
}

// installation returns the command that installs the missing tools that match, or "" if
// none is missing or this distribution's command is not known.
func installation(match func(host.Tool) bool) string {
	list := missing(match)
	i, ok := host.InstallCommand(list)
	if !ok || len(list) == 0 {
		return ""
	}
	return "run vmtest setup, or " + i.Sudo(host.MayInstall()).String()
}

// tools looks for the programs and files that build images, and those that make disks.
func tools(context.Context) Finding {
	wanted := func(t host.Tool) bool {
		return !strings.HasPrefix(t.Command, "qemu-") && (t.Command != "newuidmap" || os.Geteuid() != 0)
	}
	list := missing(wanted)
	if len(list) == 0 {
		return Finding{State: OK, Found: "all that builds images is there"}
	}
	var texts, packages []string
	for _, t := range list {
		texts = append(texts, t.Command+", which "+t.Why)
		packages = append(packages, t.Package)
	}
	return Finding{State: Note, Found: "missing: " + strings.Join(texts, "; ") + ": images that are there still run",
		Cure: cmp.Or(installation(wanted), "install what has them, on Debian the packages "+strings.Join(packages, ", "))}
}

// namespaces tries what an ordinary user needs to build images.
func namespaces(ctx context.Context) Finding {
	if os.Geteuid() == 0 {
		return Finding{State: OK, Found: "not needed: root builds images without them"}
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return Finding{State: Note, Found: "not known: mmdebstrap, which tries them, is missing", Cure: "see tools"}
	}
	if err := host.CheckNamespaces(ctx); err != nil {
		f := of(Note, err)
		f.Found += ": this user cannot build images; those that are there still run"
		return f
	}
	return Finding{State: OK, Found: "this user can build images"}
}

// goVersion is the least version of Go that builds this module.
const goVersion = "go1.26"

// goCommand looks for the go command, which tests need.
func goCommand(ctx context.Context) Finding {
	cure := "install " + goVersion + " or later, and add it to PATH"
	path, err := exec.LookPath("go")
	if err != nil {
		return Finding{State: Note, Found: "no go command on PATH: tests cannot be built", Cure: cure}
	}
	out, err := exec.CommandContext(ctx, path, "env", "GOVERSION").Output()
	if err != nil {
		return Finding{State: Note, Found: fmt.Sprintf("run %s env GOVERSION: %v", path, err), Cure: cure}
	}
	found := tail.Printable(strings.TrimSpace(string(out)))
	old := version.Compare(found, goVersion) < 0
	found += ", " + path
	if old {
		return Finding{State: Note, Found: found + ": older than " + goVersion + ", which a module that needs it makes the go command download, unless GOTOOLCHAIN=local", Cure: cure}
	}
	return Finding{State: OK, Found: found}
}

// clock compares the host's time with the times of what was made before now.
func clock(context.Context) Finding {
	now := time.Now()
	after := func(t time.Time, what string) Finding {
		return Finding{State: Note, Found: fmt.Sprintf("it is %s, which is before %s, %s: package lists and certificates seem not valid yet",
			now.Format(time.DateTime), what, t.Local().Format(time.DateTime)), Cure: "set this host's clock"}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil && now.Before(t) {
				return after(t, "the commit of this program")
			}
		}
	}
	list, _ := images.List(images.Options{}) // see cache for the error
	for _, m := range list {
		if now.Before(m.Built) {
			return after(m.Built, "the build of image "+m.Name)
		}
	}
	return Finding{State: OK, Found: now.Format(time.RFC3339)}
}
