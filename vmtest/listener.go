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
	if host, port, err := net.SplitHostPort(address); err == nil {
		for _, own := range m.nics.joined() {
			if peer := own.network.peerAt(host, own); peer != nil {
				return own.lookAt(peer, network, port)
			}
		}
	}
	return m.ownListener(network, address)
}

// lookAt describes, as listener does, what is at a port of a peer in the interface's network.
func (i *Interface) lookAt(peer *Interface, network, port string) string {
	var pulled string
	for _, end := range []*Interface{i, peer} {
		if end.isPulled() {
			pulled += fmt.Sprintf("; the cable of %s is pulled", end.Host)
		}
	}
	if peer.machine == nil || isClosed(peer.machine.Done()) {
		return fmt.Sprintf("%s is no machine that runs%s", peer.Host, pulled)
	}
	at := peer.IPv4.String()
	return fmt.Sprintf("in %s %s%s", peer.Host, peer.machine.ownListener(network, net.JoinHostPort(at, port)), pulled)
}

// ownListener is listener for an address of the guest itself.
func (m *Machine) ownListener(network, address string) string {
	ctx, cancel := deadline.Within(deadline.ForEvidence(context.Background()), deadline.Limit{What: "no answer", Time: deadline.Reserve / 4})
	defer cancel()
	sockets, err := m.system().socketsAt(ctx, network, address)
	if err != nil {
		return fmt.Sprintf("what listens there could not be looked up: %v", err)
	}
	var texts []string
	for _, s := range sockets {
		if owners := m.owners(ctx, s.Owners); len(owners) > 0 {
			texts = append(texts, fmt.Sprintf("a socket %s is open in %s", s.place(), strings.Join(owners, ", ")))
		}
	}
	if texts == nil {
		return "no process has a socket there open"
	}
	return strings.Join(texts, "; ")
}

// place returns where the socket is, as part of a sentence about the address.
func (s guestSocket) place() string {
	if s.Wildcard {
		return "for every address, " + s.Local + ","
	}
	return "there"
}

// owner matches a process in the output of ss -p.
var owner = regexp.MustCompile(`\("((?:[^"\\]|\\.)*)",pid=(\d+),fd=\d+\)`)

// owners returns the processes that a line of ss -p names, as "cat[123] of echo.service
// (sleeping in do_epoll_wait)".
func (m *Machine) owners(ctx context.Context, line string) []string {
	var found []string
	seen := make(map[string]bool)
	for _, match := range owner.FindAllStringSubmatch(line, -1) {
		name, pid := match[1], match[2]
		if seen[pid] {
			continue
		}
		seen[pid] = true
		found = append(found, tail.Printable(fmt.Sprintf("%s[%s]%s", name, pid, m.activity(ctx, pid))))
	}
	return found
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
