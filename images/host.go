package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Tool is something that the host needs to build images and to run them.
type Tool struct {
	Command string // a command, or the absolute path of a file
	Package string // Debian's and Ubuntu's package that has it
	Why     string // half a sentence
	build   bool   // needed for building, not for running
}

// hostTools lists what the host needs.
func hostTools() []Tool {
	qemu := Tool{"qemu-system-x86_64", "qemu-system-x86", "runs the guests", false}
	if runtime.GOARCH == "arm64" {
		qemu = Tool{"qemu-system-aarch64", "qemu-system-arm", "runs the guests", false}
	}
	return []Tool{
		qemu,
		{"mkfs.ext4", "e2fsprogs", "formats the disks that outlive a guest", false},
		{"mmdebstrap", "mmdebstrap", "builds the guests from packages", true},
		{"sqfstar", "squashfs-tools", "writes their root file systems", true},
		{"newuidmap", "uidmap", "lets an ordinary user build them", true},
		{"gpg", "gpg", "tells which of the archive's keys a suite needs", true},
		{"/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring", "holds the archive's keys", true},
	}
}

// Missing lists the tools that the host lacks.
func Missing() []Tool {
	var missing []Tool
	for _, t := range hostTools() {
		if !t.present() {
			missing = append(missing, t)
		}
	}
	return missing
}

// InstallCommand gives the command that installs tools on this distribution,
// without sudo. ok is false where the distribution is not Debian or one of its
// descendants: then a person has to find the packages.
func InstallCommand(tools []Tool) (argv []string, ok bool) {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, false
	}
	return installCommand(osRelease(b), tools)
}

func installCommand(release map[string]string, tools []Tool) ([]string, bool) {
	ids := append(strings.Fields(release["ID_LIKE"]), release["ID"])
	for _, id := range ids {
		if id != "debian" && id != "ubuntu" {
			continue
		}
		argv := []string{"apt-get", "install", "--yes", "--no-install-recommends"}
		for _, t := range tools {
			argv = append(argv, t.Package)
		}
		return argv, true
	}
	return nil, false
}

// toolPath is PATH with the folders of system commands, which an ordinary
// user's PATH may lack.
func toolPath() string {
	return strings.TrimPrefix(os.Getenv("PATH")+":/usr/sbin:/sbin", ":")
}

func (t Tool) present() bool {
	if filepath.IsAbs(t.Command) {
		_, err := os.Stat(t.Command)
		return err == nil
	}
	_, ok := findCommand(t.Command)
	return ok
}

// findCommand gives the path of a command.
func findCommand(name string) (string, bool) {
	for _, dir := range filepath.SplitList(toolPath()) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, true
		}
	}
	return "", false
}

// installCure goes before the names of packages.
const installCure = "run \"vmtest setup\", or install "

// FindTool gives the path of a tool that the host needs, by its command. An
// ordinary user's PATH need not have it. The error is a *HostError.
func FindTool(command string) (string, error) {
	if path, ok := findCommand(command); ok {
		return path, nil
	}
	e := &HostError{Cause: "missing on this host: " + command, Err: exec.ErrNotFound}
	for _, t := range hostTools() {
		if t.Command == command {
			e.Cure = installCure + t.Package
		}
	}
	return "", e
}

// requireTools says in one error what a build lacks.
func requireTools() error {
	var commands, names []string
	for _, t := range Missing() {
		if t.build && (t.Command != "newuidmap" || os.Geteuid() != 0) {
			commands = append(commands, t.Command)
			names = append(names, t.Package)
		}
	}
	if len(commands) == 0 {
		return nil
	}
	return &HostError{
		Cause: "missing on this host: " + strings.Join(commands, ", "),
		Cure:  installCure + strings.Join(names, ", "),
		Err:   exec.ErrNotFound,
	}
}

const userNamespaceCure = "give the user a range in /etc/subuid and /etc/subgid (usermod --add-subuids 100000-165535 " +
	"--add-subgids 100000-165535 USER), allow user namespaces, or build as root"

// CheckNamespaces tries what an ordinary user's build rests on: a user namespace
// with subordinate ids. It needs mmdebstrap. The error is a *HostError with the cure.
func CheckNamespaces(ctx context.Context) error {
	if os.Geteuid() == 0 {
		return nil
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--unshare-helper", "true")
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &exit):
		return fmt.Errorf("try user namespaces: %w", err)
	}
	cause := lastLine(string(out))
	cure := userNamespaceCure
	for file, bad := range map[string]string{
		"/proc/sys/kernel/unprivileged_userns_clone":             "0",
		"/proc/sys/user/max_user_namespaces":                     "0",
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
	} {
		b, err := os.ReadFile(file)
		if err == nil && strings.TrimSpace(string(b)) == bad {
			key := strings.ReplaceAll(strings.TrimPrefix(file, "/proc/sys/"), "/", ".")
			cure = "the sysctl " + key + " is " + bad + ": allow user namespaces there, or build as root"
		}
	}
	return &HostError{Cause: "no user namespaces for this user: " + cause, Cure: cure, Tail: string(out), Err: err}
}
