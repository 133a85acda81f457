package images

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
)

// HostError reports what this host lacks: a tool, space, a network, user namespaces,
// a cache directory of its own. Nothing is wrong with the image or the program. Its
// fields are Cause and Cure, a line each, Check, the line of "vmtest doctor" about it,
// Tail, the last output of the tool that failed, and Err, the error behind it; the last
// three may be empty.
type HostError = host.Error

// BuildError reports that a tool could not make an image.
type BuildError struct {
	Tool  string // the command that failed
	Cause string // one line, from its output
	Cure  string // one line, possibly empty
	Tail  string // its last output, at most 4 KiB
	Err   error
}

func (e *BuildError) Error() string {
	s := fmt.Sprintf("run %s: %s", e.Tool, e.Cause)
	if e.Cure != "" {
		s += " (" + e.Cure + ")"
	}
	return s
}

func (e *BuildError) Unwrap() error { return e.Err }

// failure is a kind of failure that the tools' output shows.
type failure struct {
	pattern string // of a line
	host    bool   // whether the host lacks something
	what    string
	cure    string
	check   host.Check // the line of "vmtest doctor" about it, or empty
}

// failures returns the kinds of failure. A full disk is the first.
func failures() []failure {
	return []failure{
		{`No space left on device|You don't have enough free space`, true, "no space", host.SpaceCure, host.Disk},
		{`Temporary failure resolving|Could not resolve|Could not connect|Unable to connect|` +
			`Connection failed|Connection refused|Connection timed out|connection timed out|Network is unreachable`,
			true, "the package mirror cannot be reached",
			"a first build needs a network: connect, set VMTEST_MIRROR, or copy an image's directory into the cache", ""},
		{`is expired \(invalid since`, true, "the mirror's package lists are too old",
			"set VMTEST_MIRROR to a current one, or accept it with VMTEST_ALLOW_EXPIRED_RELEASE=1", ""},
		{`is not valid yet`, true, "the mirror's package lists are from the future", "set this host's clock", host.Clock},
		{`40[13] +(Unauthorized|Forbidden)`, true, "a package source refuses the login",
			"correct the source's AuthFile or AuthEnv", ""},
		{`NO_PUBKEY|is not signed|signatures couldn't be verified`, true, "the archive's key is not known here",
			"install or update debian-archive-keyring, or correct the keyring of the recipe or source", host.Tools},
		{`newuidmap|newgidmap|unshare\(\) failed|cannot unshare|/etc/subuid|/etc/subgid`, true,
			"no user namespaces for this user", host.NamespaceCure, host.Namespaces},
		{`Unable to locate package linux-image-cloud-`, false, "the archive has no kernel of this name",
			"name the package of its kernel in the recipe, such as linux-image-virtual", ""},
		{`404 +Not Found`, false, "the mirror lacks a package that its list names",
			"the mirror is being updated: try again later, or set VMTEST_MIRROR", ""},
	}
}

// summary matches mmdebstrap's and apt's closing lines. They repeat that something
// went wrong before.
var summary = regexp.MustCompile(`^E: (setup failed|command failed|mmdebstrap|run_|listening on|.* failed$|Some index files failed|Unable to fetch some)`)

// explain makes an error of a tool that failed from the end of its output.
func explain(tool, end string, err error) error {
	lines := strings.Split(printable(strings.ReplaceAll(end, "\r", "\n")), "\n")
	dpkg := dpkgCause(lines)
	for i, f := range failures() {
		if i > 0 && dpkg != "" {
			break // a package's script may print anything, also about a network
		}
		re := regexp.MustCompile(f.pattern)
		for _, line := range slices.Backward(lines) {
			if !re.MatchString(line) {
				continue
			}
			cause := f.what + ": " + strings.TrimSpace(line)
			if f.host {
				return &HostError{Cause: cause, Cure: f.cure, Check: f.check, Tail: end, Err: err}
			}
			return &BuildError{Tool: tool, Cause: cause, Cure: f.cure, Tail: end, Err: err}
		}
	}
	cause := cmp.Or(dpkg, aptCause(lines))
	if cause != "" {
		return &BuildError{Tool: tool, Cause: cause, Tail: end, Err: err}
	}
	for _, line := range lines {
		switch {
		case !strings.HasPrefix(line, "E: "):
		case !summary.MatchString(line):
			cause = line // the last one of these
		case cause == "":
			cause = line // the first one, nearest to the cause
		}
	}
	if cause == "" {
		cause = lines[len(lines)-1]
	}
	if cause == "" {
		cause = err.Error()
	}
	return &BuildError{Tool: tool, Cause: strings.TrimSpace(cause), Tail: end, Err: err}
}

// printable returns a tool's output for an error's text.
func printable(output string) string { return strings.TrimSpace(tail.Printable(output)) }

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
