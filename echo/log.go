package echo

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// identifier is SYSLOG_IDENTIFIER, what `journalctl -t` looks for.
const identifier = "demo-echo"

// NewLogger logs to the journal when standard error is connected to it (see
// systemd.exec(5), JOURNAL_STREAM), with attributes as fields: peer becomes
// ECHO_PEER. Else it writes text lines with the same facts to standard error.
// It never writes to standard output, which may be a connection.
func NewLogger() *slog.Logger {
	text := slog.NewTextHandler(os.Stderr, nil)
	native, err := journal.StderrIsJournalStream()
	if err != nil {
		log := slog.New(text)
		log.Warn("cannot tell whether standard error is the journal", "error", err.Error())
		return log
	}
	if !native {
		return slog.New(text)
	}
	return slog.New(journalHandler{fallback: text})
}

// journalHandler sends records by journald's native protocol. The daemon logs
// flat attributes only: groups are not kept apart.
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
	// journald finds the unit by looking up the sender's process, which an
	// instance of a short connection may not live to see. The invocation id
	// ties its lines to the unit all the same.
	if id := os.Getenv("INVOCATION_ID"); id != "" {
		fields["INVOCATION_ID"] = id
	}
	var message strings.Builder
	message.WriteString(r.Message)
	add := func(a slog.Attr) bool {
		fields["ECHO_"+strings.ToUpper(a.Key)] = a.Value.String()
		if a.Key != "event" {
			fmt.Fprintf(&message, " %s=%s", a.Key, a.Value)
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	if err := journal.Send(message.String(), priority(r.Level), fields); err != nil {
		// Standard error leads to the journal too, only without fields.
		return h.fallback.Handle(ctx, r)
	}
	return nil
}

// WithAttrs implements [slog.Handler].
func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	// A fresh slice: handlers of several connections share the old one.
	return journalHandler{
		attrs:    append(append([]slog.Attr(nil), h.attrs...), attrs...),
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
