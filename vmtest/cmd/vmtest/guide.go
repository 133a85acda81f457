package main

import (
	"fmt"
	"slices"
	"strings"

	"example.org/systemd-vmtest/images"
)

// The units of the guide.
const (
	guideSocket  = "demo-echo.socket"
	guideService = "demo-echo@.service"
	guideAddress = "127.0.0.1:9091"
)

// guideLink returns the path of the symbolic link that enables the guide's socket.
func guideLink(guest images.Manifest) string {
	return guest.UnitDir() + "/sockets.target.wants/" + guideSocket
}

// guideSteps returns the steps of a how-to for socket activation with an instance for
// each connection. They check properties, and texts only as far as all versions of systemd
// agree on them.
func guideSteps(guest images.Manifest) []step {
	unitDir, link, runtime := guest.UnitDir(), guideLink(guest), ""
	if guest.RuntimeUnits() {
		runtime = "--runtime "
	}
	const show = "systemctl show " + guideSocket + " -p Listen -p ActiveState -p SubState"
	return []step{
		{
			command: "systemd-analyze verify " + unitDir + "/" + guideService + " " + unitDir + "/" + guideSocket,
			good:    "no output: systemd finds no fault in the two files",
			check:   wantSilence,
		},
		{
			command: "systemctl daemon-reload",
			good:    "systemd has read its unit files again",
			check:   wantSuccess,
		},
		{
			command: "systemctl enable " + runtime + "--now " + guideSocket,
			good:    "enabled, by a symbolic link, and started",
			probe:   "readlink -f " + link,
			check: all(wantSuccess, wantText("Created symlink"), func(o outcome) *mismatch {
				return differ("link "+link+" to "+unitDir+"/"+guideSocket, unitDir+"/"+guideSocket, o.probe)
			}),
		},
		{
			command: show,
			good:    "systemd itself holds the port and listens",
			check: all(wantSuccess, wantLine("Listen="+guideAddress+" (Stream)"),
				wantLine("ActiveState=active"), wantLine("SubState=listening")),
		},
		{
			command: `printf 'socket activation works\n' | nc -N 127.0.0.1 9091`,
			good:    "the connection started a service, which sent the line back",
			needs:   show,
			check: func(o outcome) *mismatch {
				if m := wantSuccess(o); m != nil {
					return m
				}
				return differ("the line that was sent, and nothing else", "socket activation works\n", o.output)
			},
		},
		{
			command: "systemctl status --no-pager --full " + guideSocket,
			good:    "one connection accepted, and still listening",
			check:   all(wantSuccess, wantText("Active: active (listening)"), wantText("Accepted: 1;")),
		},
		{
			command: "journalctl -u " + guideSocket + " -n 10 --no-pager",
			good:    "the journal shows when it began to listen",
			settle:  "journalctl --sync",
			check:   all(wantSuccess, wantText("Listening on ")),
		},
		{
			command: "systemctl disable " + runtime + "--now " + guideSocket,
			good:    "stopped, and the symbolic link is gone",
			probe:   "readlink " + link + " || echo no link; systemctl is-active " + guideSocket,
			check: all(wantSuccess, wantText("Removed"), func(o outcome) *mismatch {
				return differ("no link "+link+" and an inactive socket", "no link\ninactive", o.probe)
			}),
		},
	}
}

// all returns a check that passes if each of checks passes.
func all(checks ...func(outcome) *mismatch) func(outcome) *mismatch {
	return func(o outcome) *mismatch {
		for _, check := range checks {
			if m := check(o); m != nil {
				return m
			}
		}
		return nil
	}
}

func wantSuccess(o outcome) *mismatch {
	if o.end == "" {
		return nil
	}
	return &mismatch{"exit status 0", o.end}
}

func wantSilence(o outcome) *mismatch {
	if o.output == "" {
		return wantSuccess(o)
	}
	return &mismatch{"no output", aboveOrNothing(o.output)}
}

// wantText returns a check that the output has a text. If it lacks a "Name: value", the
// mismatch shows the line of that name.
func wantText(text string) func(outcome) *mismatch {
	return func(o outcome) *mismatch {
		if strings.Contains(o.output, text) {
			return nil
		}
		m := &mismatch{fmt.Sprintf("output with %q", text), aboveOrNothing(o.output)}
		if name, _, named := strings.Cut(text, ": "); named {
			for line := range strings.Lines(o.output) {
				if line = strings.TrimSpace(line); strings.HasPrefix(line, name+": ") {
					m.got = line
				}
			}
		}
		return m
	}
}

// wantLine returns a check that the output of systemctl show has a line NAME=value. If it
// lacks the line, the mismatch shows the lines of that name.
func wantLine(want string) func(outcome) *mismatch {
	return func(o outcome) *mismatch {
		lines := strings.Split(o.output, "\n")
		if slices.Contains(lines, want) {
			return nil
		}
		name, _, _ := strings.Cut(want, "=")
		var same []string
		for _, line := range lines {
			if strings.HasPrefix(line, name+"=") {
				same = append(same, line)
			}
		}
		return &mismatch{want, orNothing(strings.Join(same, "\n"))}
	}
}

func differ(what, want, got string) *mismatch {
	if got == want {
		return nil
	}
	return &mismatch{what, orNothing(got)}
}

// aboveOrNothing refers to output that the transcript has printed already.
func aboveOrNothing(output string) string {
	if output == "" {
		return "nothing"
	}
	return "the output above"
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
