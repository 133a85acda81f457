package echo

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// identifier is the daemon's SYSLOG_IDENTIFIER, which journalctl -t matches.
const identifier = "demo-echo"

// NewLogger returns a logger for the journal if standard error is connected to
// it (JOURNAL_STREAM, systemd.exec(5)). Each attribute becomes a field: peer is
// ECHO_PEER. Otherwise the logger writes lines of text to standard error. It
// never writes to standard output, which may be a connection.
func NewLogger() *slog.Logger {
	text := slog.NewTextHandler(os.Stderr, nil)
	native, err := journal.StderrIsJournalStream()
	if err != nil {
		log := slog.New(text)
		log.Warn("cannot compare standard error with JOURNAL_STREAM", "error", err.Error())
		return log
	}
	if !native {
		return slog.New(text)
	}
	return slog.New(journalHandler{fallback: text})
}

// journalHandler sends records to journald by its native protocol, and to
// fallback if that fails. It ignores groups.
//
// [github.com/systemd/slog-journal] would leave the attributes out of MESSAGE,
// so that journalctl shows a broken connection without its error. It also drops
// records without an error where journald's socket is missing, as in a service
// with RootDirectory=.
//
// [github.com/systemd/slog-journal]: https://pkg.go.dev/github.com/systemd/slog-journal
type journalHandler struct {
	attrs    []slog.Attr
	fallback slog.Handler
}

// Enabled implements [slog.Handler].
func (h journalHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

// Handle implements [slog.Handler].
func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	fields := map[string]string{"SYSLOG_IDENTIFIER": identifier}
	// journald looks up the unit by the sender's process. The process of a short
	// connection may have exited by then; the invocation ID still names the unit.
	if id := os.Getenv("INVOCATION_ID"); id != "" {
		fields["INVOCATION_ID"] = id
	}
	var message strings.Builder
	message.WriteString(r.Message)
	add := func(a slog.Attr) bool {
		value := a.Value.Resolve().String()
		fields["ECHO_"+strings.ToUpper(a.Key)] = value
		if a.Key != "event" {
			fmt.Fprintf(&message, " %s=%s", a.Key, value)
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	if err := journal.Send(message.String(), priority(r.Level), fields); err != nil {
		// Standard error leads to the journal, too, but without fields.
		return h.fallback.Handle(ctx, r)
	}
	return nil
}

// WithAttrs implements [slog.Handler].
func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journalHandler{
		attrs:    slices.Concat(h.attrs, attrs),
		fallback: h.fallback.WithAttrs(attrs),
	}
}

// WithGroup implements [slog.Handler].
func (h journalHandler) WithGroup(string) slog.Handler { return h }

func priority(level slog.Level) journal.Priority {
	switch {
	case level >= slog.LevelError:
		return journal.PriErr
	case level >= slog.LevelWarn:
		return journal.PriWarning
	}
	return journal.PriInfo
}
