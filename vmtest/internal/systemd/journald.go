package systemd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// JournaldSocket is where journald answers Varlink calls (https://varlink.org).
const JournaldSocket = "/run/systemd/journal/io.systemd.journal"

// journaldAbsence bounds how long journald's socket may refuse connections, as it does
// while journald is started again.
const journaldAbsence = 10 * time.Second

// maxReply bounds a reply of journald, in bytes.
const maxReply = 64 << 10

// SyncJournald returns when journald has written all that was logged before the call. dial
// connects to JournaldSocket. It waits while journald is started again. Only ctx bounds the
// answer, because journald may have much to write.
//
// journald's Synchronize answers after all that was queued in its sockets
// (synchronize_second_half in journald's sources; systemd 243 and later).
func SyncJournald(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
	absence, cancel := deadline.Within(ctx, deadline.Limit{What: "no journald", Time: journaldAbsence})
	defer cancel()
	for {
		err := callSync(ctx, dial)
		if err == nil || !absent(err) {
			return err
		}
		select {
		case <-time.After(redialPause):
		case <-absence.Done():
			return fmt.Errorf("%w; %w", err, context.Cause(absence))
		}
	}
}

func callSync(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
	conn, err := dial(ctx)
	if err != nil {
		return fmt.Errorf("connect to journald: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err = conn.Write(append([]byte(`{"method":"io.systemd.Journal.Synchronize"}`), 0))
	var reply []byte
	if err == nil {
		reply, err = bufio.NewReader(io.LimitReader(conn, maxReply)).ReadBytes(0)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("ask journald to write: %w", err)
	}
	return parseReply(reply[:len(reply)-1])
}

// parseReply returns the error of a reply.
func parseReply(reply []byte) error {
	var r struct{ Error string }
	if err := json.Unmarshal(reply, &r); err != nil {
		return fmt.Errorf("ask journald to write: parse reply: %w", err)
	}
	if r.Error != "" {
		return errors.New("ask journald to write: " + tail.Printable(r.Error))
	}
	return nil
}
