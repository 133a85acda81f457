package vmtest

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// lookText returns the state of a unit as the end of a sentence about it, or "" for a unit
// whose state was not read.
func lookText(l systemd.Look) string {
	if l.ActiveState == "" {
		return ""
	}
	text := fmt.Sprintf("; it is %s (%s)", l.ActiveState, l.SubState)
	if l.Type == "notify" && l.ActiveState == "activating" && l.SubState == "start" {
		text += ", and has not sent READY=1 (Type=notify)"
	}
	if l.Restarts > 0 {
		text += fmt.Sprintf(", restarts: %d", l.Restarts)
	}
	return tail.Printable(text)
}

// failedLine returns a line about a unit that has failed.
func failedLine(u systemd.ListedUnit) string {
	return fmt.Sprintf("%s %s %s %s %s", u.Name, u.LoadState, u.ActiveState, u.SubState, u.Description)
}

func jobLine(j systemd.Job) string {
	return fmt.Sprintf("%d %s %s %s", j.ID, j.Unit, j.Type, j.State)
}

// socketLine returns a line about a socket: where it listens, and in what state it is.
func socketLine(s systemd.Socket) string {
	text := fmt.Sprintf("%s %s (%s), result %s; listens on %s", s.Name, s.ActiveState, s.SubState, s.Result, strings.Join(s.Listen, ", "))
	if s.Accept {
		text += fmt.Sprintf("; accepted %d, connected %d", s.Accepted, s.Connected)
	}
	return text
}

// coreLine returns a core dump in one line.
func coreLine(c guest.Core) string {
	text := fmt.Sprintf("process %d (%s) dumped core: signal %d/%s", c.PID, c.Name, c.Signal,
		strings.TrimPrefix(unix.SignalName(syscall.Signal(c.Signal)), "SIG"))
	if len(c.Frames) > 0 {
		text += " in " + c.Frames[0]
	}
	return tail.Printable(text)
}

// coreText returns a core dump in several lines. names are those of coreNames.
func coreText(c guest.Core, names map[string]string) string {
	text := coreLine(c)
	for i, frame := range c.Frames {
		text += fmt.Sprintf("\n    #%d %s", i, tail.Printable(frame))
	}
	if c.Path == "" {
		return text
	}
	return text + "\n    its file " + tail.Printable(c.Path) + " is here as " + names[c.Path]
}

// linesOf returns a line for each of all.
func linesOf[T any](all []T, line func(T) string) []string {
	lines := make([]string, len(all))
	for i, x := range all {
		lines[i] = line(x)
	}
	return lines
}
