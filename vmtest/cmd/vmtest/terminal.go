package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := unwrap(w).(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// checkTerminal returns an error if this process has no terminal for a command in a guest.
func checkTerminal() error {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.ENXIO) {
		return errors.New("no terminal (/dev/tty)")
	}
	if err != nil {
		return fmt.Errorf("open terminal: %w", err)
	}
	return tty.Close()
}

// isUTF8 reports whether the user's locale has UTF-8 (locale(7)).
func isUTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// theme is the look of a transcript.
type theme struct {
	utf8   bool // marks and guests' texts may have more than ASCII
	colour bool
}

// themeFor returns the theme for w. It has colours only on a terminal, and not if the user
// turned them off (https://no-color.org).
func themeFor(w io.Writer) theme {
	colour := isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return theme{utf8: isUTF8(os.Getenv), colour: colour}
}

func (t theme) passed() string  { return t.paint("32", t.mark("✓", "[ok]")) }
func (t theme) failed() string  { return t.paint("31", t.mark("✗", "[FAILED]")) }
func (t theme) skipped() string { return t.paint("33", t.mark("–", "[skipped]")) }

func (t theme) bold(s string) string { return t.paint("1", s) }
func (t theme) dim(s string) string  { return t.paint("2", s) }

func (t theme) mark(utf8, ascii string) string {
	if t.utf8 {
		return utf8
	}
	return ascii
}

// paint wraps s in a graphic rendition (ECMA-48, SGR).
func (t theme) paint(sgr, s string) string {
	if !t.colour {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}
