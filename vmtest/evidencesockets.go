package vmtest

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
)

// maxSockets bounds the list of the guest's sockets, in bytes.
const maxSockets = 4 << 20

// printSockets writes the guest's sockets as ss(8) lists them, for people to read: first those
// where something listens.
func (m *Machine) printSockets(ctx context.Context, w io.Writer) error {
	out := tail.NewBuffer(maxSockets)
	failure := m.printTo(ctx, out, []string{"ss", "--all", "--numeric", "--processes"})
	_, err := io.WriteString(w, listenersFirst(out.String()+"\n"))
	return errors.Join(failure, err)
}

// listenersFirst sorts the lines of ss(8): where something listens, other sockets of IP, those of
// unix(7), and netlink(7). What systemd and D-Bus have for themselves comes behind the others.
func listenersFirst(out string) string {
	lines := slices.Collect(strings.Lines(out))
	slices.SortStableFunc(lines, func(a, b string) int { return cmp.Compare(socketRank(a), socketRank(b)) })
	return strings.Join(lines, "")
}

func socketRank(line string) int {
	fields := strings.Fields(line) // kind, state, two queues, local address
	if len(fields) < 5 || fields[0] == "Netid" {
		return 0
	}
	kind, local := fields[0], fields[4]
	listens := fields[1] == "LISTEN" || fields[1] == "UNCONN"
	unix := strings.HasPrefix(kind, "u_")
	own := slices.ContainsFunc([]string{"/run/systemd/", "/run/dbus/", "/run/udev/"}, func(dir string) bool { return strings.HasPrefix(local, dir) })
	switch {
	case kind == "nl":
		return 7
	case !unix && listens:
		return 1
	case unix && listens && local != "*" && !own:
		return 2
	case !unix:
		return 3
	case unix && !own:
		return 4
	case listens:
		return 5
	}
	return 6
}
