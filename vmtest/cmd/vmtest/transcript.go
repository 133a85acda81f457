package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest"
)

// step is one command of a transcript and what must result from it.
type step struct {
	command string // for sh, and as shown
	good    string // what it means if the check passes
	settle  string // a command to run before, not shown
	probe   string // a command to run after, not shown; its output is for the check
	needs   string // the command of an earlier step that must have passed
	check   func(outcome) *mismatch
}

// outcome is the result of a step.
type outcome struct {
	output string // both streams, without control characters
	end    string // how the command ended, or "" for exit status 0
	probe  string // the probe's output, without space at its ends
}

// mismatch is why a check does not pass.
type mismatch struct{ want, got string }

// runner runs a command in the guest's shell and returns what it wrote. The error is a
// *vmtest.ExitError if the command ran and did not exit with 0.
type runner func(ctx context.Context, command string) (output string, err error)

// transcript prints steps as they are taken.
type transcript struct {
	w     io.Writer
	theme theme
	run   runner
	limit time.Duration // for each command

	writeErr                error // the first
	passed, failed, skipped int
}

// take takes the steps in turn, also after one has failed, because the later ones help to
// see why. The error is that of the guest or of the writer, and not of a step.
func (t *transcript) take(ctx context.Context, steps []step) error {
	bad := make(map[string]bool)
	for _, s := range steps {
		t.printf("%s\n", t.theme.bold("$ "+s.command))
		if bad[s.needs] {
			bad[s.command] = true
			t.skipped++
			t.printf("%s not run, because it needs this step to pass: %s\n\n", t.theme.skipped(), s.needs)
			continue
		}
		begin := time.Now()
		o, err := t.outcome(ctx, s)
		if err != nil {
			return err
		}
		m := s.check(o)
		bad[s.command] = m != nil
		t.verdict(s, m, time.Since(begin))
		if t.writeErr != nil {
			return t.writeErr
		}
	}
	return t.writeErr
}

// outcome runs the commands of a step and prints the output of the main one.
func (t *transcript) outcome(ctx context.Context, s step) (outcome, error) {
	var o outcome
	if s.settle != "" {
		if _, _, err := t.bounded(ctx, s.settle); err != nil {
			return o, err
		}
	}
	var err error
	if o.output, o.end, err = t.bounded(ctx, s.command); err != nil {
		return o, err
	}
	t.printf("%s", o.output)
	if o.output != "" && !strings.HasSuffix(o.output, "\n") {
		t.printf("\n")
	}
	if s.probe != "" {
		if o.probe, _, err = t.bounded(ctx, s.probe); err != nil {
			return o, err
		}
		o.probe = strings.TrimSpace(o.probe)
	}
	return o, nil
}

// bounded runs one command within the limit. It is no error if the command fails, or does
// not end.
func (t *transcript) bounded(ctx context.Context, command string) (output, end string, err error) {
	limited, cancel := vmtest.WithTimeout(ctx, t.limit)
	defer cancel()
	output, err = t.run(limited, command)
	output = tail.Printable(output)
	var exit *vmtest.ExitError
	var gone *vmtest.GuestError
	switch {
	case err == nil:
		return output, "", nil
	case errors.As(err, &exit):
		return output, exit.Error(), nil
	case errors.As(err, &gone) || ctx.Err() != nil || limited.Err() == nil:
		return output, "", err
	}
	return output, context.Cause(limited).Error(), nil
}

// verdict prints the mark of a step.
func (t *transcript) verdict(s step, m *mismatch, took time.Duration) {
	seconds := t.theme.dim(seconds(took))
	if m == nil {
		t.passed++
		t.printf("%s %s  %s\n\n", t.theme.passed(), s.good, seconds)
		return
	}
	t.failed++
	t.printf("%s wrong  %s\n", t.theme.failed(), seconds)
	t.printf("%s%s\n\n", labelled("expected: ", m.want), labelled("got:      ", m.got))
}

// labelled indents a text of one or more lines under its label.
func labelled(label, text string) string {
	const indent = "    "
	text = strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+indent+strings.Repeat(" ", len(label)))
	return indent + label + text + "\n"
}

// summary prints the last line.
func (t *transcript) summary(guest string, took time.Duration) error {
	steps := t.passed + t.failed + t.skipped
	if t.failed == 0 {
		t.printf("%s  %d steps on %s in %s\n", t.theme.paint("1;32", "PASS"), steps, guest, seconds(took))
		return t.writeErr
	}
	skipped := ""
	if t.skipped > 0 {
		skipped = fmt.Sprintf(" and %d skipped", t.skipped)
	}
	t.printf("%s  %d of %d steps failed%s on %s in %s\n", t.theme.paint("1;31", "FAIL"), t.failed, steps, skipped, guest, seconds(took))
	return t.writeErr
}

func (t *transcript) printf(format string, args ...any) {
	if t.writeErr == nil {
		_, t.writeErr = fmt.Fprintf(t.w, format, args...)
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
