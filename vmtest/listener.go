package vmtest

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// listener describes the processes that have a socket at an address in the guest open,
// and what they do now, for the error of a connection that got no answer.
func (m *Machine) listener(network, address string) string {
	ctx, cancel := deadline.Within(deadline.ForEvidence(context.Background()), deadline.Limit{What: "no answer", Time: deadline.Reserve / 4})
	defer cancel()
	found, err := m.socketOwners(ctx, network, address)
	switch {
	case err != nil:
		return fmt.Sprintf("what listens there could not be looked up: %v", err)
	case len(found) == 0:
		return "no process has a socket there open"
	}
	return "a socket there is open in " + strings.Join(found, ", ")
}

// owner matches a process in the output of ss -p.
var owner = regexp.MustCompile(`\("((?:[^"\\]|\\.)*)",pid=(\d+),fd=\d+\)`)

// socketOwners returns the processes with a socket at an address, as "cat[123] of
// echo.service (sleeping in do_epoll_wait)".
func (m *Machine) socketOwners(ctx context.Context, network, address string) ([]string, error) {
	filter, err := socketFilter(network, address)
	if err != nil {
		return nil, err
	}
	out, err := m.Run(ctx, append([]string{"ss", "--no-header", "--all", "--processes"}, filter...)...)
	if err != nil {
		return nil, err
	}
	var found []string
	seen := make(map[string]bool)
	for _, match := range owner.FindAllStringSubmatch(out, -1) {
		name, pid := match[1], match[2]
		if seen[pid] {
			continue
		}
		seen[pid] = true
		found = append(found, tail.Printable(fmt.Sprintf("%s[%s]%s", name, pid, m.activity(ctx, pid))))
	}
	return found, nil
}

// socketFilter returns the arguments of ss(8) that select the sockets at an address.
func socketFilter(network, address string) ([]string, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return []string{"--tcp", "--numeric", "sport", "=", ":" + port}, nil
	case "unix":
		return []string{"--unix", "src", "unix:" + address}, nil
	}
	return nil, fmt.Errorf("look up socket: network %q is not tcp or unix", network)
}

// activity describes what a process does: its unit, its state and where in the kernel it
// sleeps (proc_pid_status(5), proc_pid_wchan(5)).
func (m *Machine) activity(ctx context.Context, pid string) string {
	var text string
	if data, err := m.ReadFile(ctx, "/proc/"+pid+"/cgroup"); err == nil {
		if path := strings.TrimSpace(string(data)); strings.Contains(path, ".service") || strings.Contains(path, ".scope") {
			text += " of " + path[strings.LastIndexByte(path, '/')+1:]
		}
	}
	data, err := m.ReadFile(ctx, "/proc/"+pid+"/status")
	if err != nil {
		return text
	}
	_, state, _ := strings.Cut(string(data), "\nState:\t")
	state, _, _ = strings.Cut(state, "\n")
	if _, name, ok := strings.Cut(state, "("); ok {
		state = strings.TrimSuffix(name, ")")
	}
	if data, err := m.ReadFile(ctx, "/proc/"+pid+"/wchan"); err == nil && len(data) > 1 {
		state += " in " + string(data)
	}
	if state == "" {
		return text
	}
	return text + " (" + state + ")"
}
