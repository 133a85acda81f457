package vmtest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// journalShown is how many lines of the journal the evidence has.
const journalShown = 60

// consoleShown is how many lines of the console the evidence has.
const consoleShown = 50

// evidence returns what a guest shows of a failure. It uses the time that is kept back
// for that, also after ctx has ended. A guest that is gone or stuck yields only its
// console.
func evidence(ctx context.Context, m *Machine) string {
	ctx, cancel := deadline.Within(deadline.ForEvidence(ctx), deadline.Limit{What: "no evidence", Time: deadline.Reserve * 3 / 4})
	defer cancel()
	var b strings.Builder
	fmt.Fprintf(&b, "evidence from the guest (%s, systemd %s, %s)", m.Image().Name, m.Image().SystemdVersion, m.vm.Spec().Files.Accel)
	title := b.Len()
	h := m.vm.Examine()
	if !h.Answers() || h.Victim != "" {
		b.WriteString("\n" + h.String())
	}
	whole := h.Answers() && section(ctx, &b, m, "failed units", "systemctl", "list-units", "--failed", "--no-legend", "--plain", "--no-pager") &&
		section(ctx, &b, m, "jobs", "systemctl", "list-jobs", "--no-legend", "--no-pager") &&
		socketSection(ctx, &b, m) &&
		section(ctx, &b, m, fmt.Sprintf("journal since the test began, last %d lines", journalShown),
			"journalctl", "--boot", "--quiet", "--no-pager", "--output=short-precise",
			fmt.Sprintf("--since=@%d", m.Began().Unix()), fmt.Sprintf("--lines=%d", journalShown))
	if !whole {
		indented(&b, fmt.Sprintf("console, last %d lines", consoleShown), strings.Join(m.vm.Console().Lines(consoleShown), "\n"))
	}
	if b.Len() == title {
		b.WriteString(": nothing has failed there, and the journal has no line since the test began")
	}
	return b.String()
}

// section adds the output of a command, when there is any, and tells whether the
// guest answered.
func section(ctx context.Context, b *strings.Builder, m *Machine, title string, args ...string) bool {
	r, err := m.run(ctx, Command{Args: args})
	if !answered(b, title, err) {
		return false
	}
	indented(b, title, tail.Printable(string(r.Stdout)+string(r.Stderr)))
	return true
}

// socketSection adds the sockets that came with the test: where each listens, and in
// what state it is.
func socketSection(ctx context.Context, b *strings.Builder, m *Machine) bool {
	const title = "sockets"
	r, err := m.run(ctx, Command{Args: []string{"systemctl", "show", "*.socket", "--property=Id,FragmentPath,Listen,ActiveState,SubState,Result,NAccepted,NConnections"}})
	if !answered(b, title, err) {
		return false
	}
	indented(b, title, tail.Printable(describeSockets(string(r.Stdout))))
	return true
}

// answered tells whether a guest answered to a command, and adds why when it did
// not. The console of a guest that is gone is not shown here.
func answered(b *strings.Builder, title string, err error) bool {
	if err == nil || isExit(err) {
		return true
	}
	var gone *GuestError
	if errors.As(err, &gone) {
		err = gone.Err
	}
	fmt.Fprintf(b, "\n%s: %v", title, err)
	return false
}

// describeSockets makes a line of each socket whose unit file is below /etc or /run,
// from what systemctl show prints; the distribution's own are elsewhere.
func describeSockets(shown string) string {
	var lines []string
	for block := range strings.SplitSeq(shown, "\n\n") {
		p := systemd.ParseShow(block)
		if file := p["FragmentPath"]; !strings.HasPrefix(file, "/etc/") && !strings.HasPrefix(file, "/run/") {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s %s (%s), result %s; listens on %s; accepted %s, connected %s",
			p["Id"], p["ActiveState"], p["SubState"], p["Result"], strings.ReplaceAll(p["Listen"], "\n", ", "), p["NAccepted"], p["NConnections"]))
	}
	return strings.Join(lines, "\n")
}

// indented adds a text under its title, when there is any.
func indented(b *strings.Builder, title, text string) {
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	fmt.Fprintf(b, "\n%s:\n  | %s", title, strings.ReplaceAll(text, "\n", "\n  | "))
}
