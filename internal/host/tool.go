package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Tool is something that a host needs to build images or to run them.
type Tool struct {
	Command string // a command, or the absolute path of a file
	Package string // the package of Debian and Ubuntu that has it
	Why     string // what it is for, as "runs the guests"
	Build   bool   // whether only builds need it
}

func tools() []Tool {
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
		{"gpg", "gpg", "finds the archive's keys that a suite needs", true},
		{"/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring", "holds the archive's keys", true},
	}
}

// Missing returns the tools that this host lacks.
func Missing() []Tool {
	var missing []Tool
	for _, t := range tools() {
		if !t.present() {
			missing = append(missing, t)
		}
	}
	return missing
}

// Installation is how tools are installed: the arguments of two commands, one after the other.
type Installation struct {
	Update  []string // refreshes the lists of packages
	Install []string
}

// String returns both as a line for a shell.
func (i Installation) String() string {
	return strings.Join(i.Update, " ") + " && " + strings.Join(i.Install, " ")
}

// Sudo returns the installation by sudo, unless this user is root or has no sudo (see
// [MayInstall]).
func (i Installation) Sudo(root, sudo bool) Installation {
	if root || !sudo {
		return i
	}
	return Installation{append([]string{"sudo"}, i.Update...), append([]string{"sudo"}, i.Install...)}
}

// MayInstall reports whether this user is root, and whether sudo is installed.
func MayInstall() (root, sudo bool) {
	_, err := exec.LookPath("sudo")
	return os.Geteuid() == 0, err == nil
}

// InstallCommand returns how tools are installed on this distribution, without sudo. ok is
// false if the distribution is neither Debian nor derived from it.
func InstallCommand(tools []Tool) (i Installation, ok bool) {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return i, false
	}
	return installCommand(ParseOSRelease(b), tools)
}

func installCommand(release map[string]string, tools []Tool) (i Installation, ok bool) {
	ids := append(strings.Fields(release["ID_LIKE"]), release["ID"])
	for _, id := range ids {
		if id != "debian" && id != "ubuntu" {
			continue
		}
		argv := []string{"apt-get", "install", "--yes", "--no-install-recommends"}
		for _, t := range tools {
			argv = append(argv, t.Package)
		}
		return Installation{[]string{"apt-get", "update"}, argv}, true
	}
	return i, false
}

// ToolPath returns PATH with the directories of system commands, which an ordinary
// user's PATH may lack.
func ToolPath() string {
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

func findCommand(name string) (path string, ok bool) {
	for _, dir := range filepath.SplitList(ToolPath()) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, true
		}
	}
	return "", false
}

// FindTool returns the path of a command, which PATH need not have (see [ToolPath]).
// Its error is an *Error.
func FindTool(command string) (string, error) {
	if path, ok := findCommand(command); ok {
		return path, nil
	}
	for _, t := range tools() {
		if t.Command == command {
			return "", missingError([]Tool{t})
		}
	}
	return "", missingError([]Tool{{Command: command, Package: command}})
}

// CheckBuildTools returns an *Error that lists the tools that this user lacks for
// building images.
func CheckBuildTools() error {
	var missing []Tool
	for _, t := range Missing() {
		if t.Build && (t.Command != "newuidmap" || os.Geteuid() != 0) {
			missing = append(missing, t)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return missingError(missing)
}

func missingError(tools []Tool) *Error {
	var commands, packages []string
	check := QEMU
	for _, t := range tools {
		if !strings.HasPrefix(t.Command, "qemu-") {
			check = Tools
		}
		commands = append(commands, t.Command)
		packages = append(packages, t.Package)
	}
	return &Error{
		Cause: "missing on this host: " + strings.Join(commands, ", "),
		Cure:  "run \"vmtest setup\", or install " + strings.Join(packages, ", "),
		Check: check,
		Err:   exec.ErrNotFound,
	}
}
