package vm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
)

// playPID1 answers D-Bus calls as systemd does at its private socket.
func (a *fakeAgent) playPID1(ch io.ReadWriter) {
	a.machine.dials.Add(1)
	r := bufio.NewReader(ch)
	for {
		line, err := r.ReadString('\n')
		line = strings.TrimLeft(line, "\x00")
		switch {
		case err != nil:
			return
		case strings.Contains(line, "AUTH EXTERNAL"):
			fmt.Fprint(ch, "OK 0123456789abcdef0123456789abcdef\r\n")
			continue
		case strings.HasPrefix(line, "NEGOTIATE_UNIX_FD"):
			fmt.Fprint(ch, "ERROR\r\n")
			continue
		case strings.HasPrefix(line, "AUTH"):
			fmt.Fprint(ch, "REJECTED EXTERNAL\r\n")
			continue
		}
		if strings.HasPrefix(line, "BEGIN") {
			break
		}
	}
	a.answerPID1(ch, r)
}

// answerPID1 answers calls. r reads ch.
func (a *fakeAgent) answerPID1(ch io.Writer, r io.Reader) {
	for {
		call, err := godbus.DecodeMessage(r)
		if err != nil {
			return
		}
		member, _ := call.Headers[godbus.FieldMember].Value().(string)
		if member == "StartUnit" {
			a.machine.hang(member)
			continue
		}
		a.machine.mu.Lock()
		pid1 := a.machine.pid1
		a.machine.mu.Unlock()
		state := pid1()
		reply := &godbus.Message{
			Type: godbus.TypeMethodReply,
			Headers: map[godbus.HeaderField]godbus.Variant{
				godbus.FieldReplySerial: godbus.MakeVariant(call.Serial()),
			},
		}
		switch {
		case member == "ListUnitsByPatterns":
			timers := []dbus.UnitStatus{{Name: "daily.timer", Path: "/daily", JobPath: "/"}}
			reply.Body = []any{timers}
		case member == "Get" && slices.Contains(call.Body, any("NextElapseUSecRealtime")):
			reply.Body = []any{godbus.MakeVariant(uint64(a.machine.elapses.UnixMicro()))}
		case member == "Get":
			reply.Body = []any{godbus.MakeVariant(state)}
		}
		if reply.Body != nil {
			reply.Headers[godbus.FieldSignature] = godbus.MakeVariant(godbus.SignatureOf(reply.Body...))
		}
		var out bytes.Buffer
		if err := reply.EncodeTo(&out, binary.LittleEndian); !assert.NoError(a.machine.t, err) {
			return
		}
		if _, err := ch.Write(out.Bytes()); err != nil {
			return
		}
	}
}
