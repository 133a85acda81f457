package link

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// FuzzHandshake replays recorded sessions as they are read from a file. The fake
// clock of a bubble ends those that wait.
func FuzzHandshake(f *testing.F) {
	version := []byte("SSH-2.0-Go\r\n")
	for _, h := range []Handshake{
		{},
		{Sent: version},
		{Sent: version, Received: []Chunk{{After: len(version), Data: version}}},
		{Received: []Chunk{{Data: []byte("SSH-2.0-Go\r\n\x00\x00\x00\x0c\x0arubbish.....")}}},
		{Received: []Chunk{{After: -1}, {After: 1 << 40}}},
	} {
		data, err := json.Marshal(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var h Handshake
		if json.Unmarshal(data, &h) != nil {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			err := h.Check(t.Context())
			if h.IsZero() != (err == nil) {
				t.Errorf("check %s: %v", data, err)
			}
			if err != nil && !errors.Is(err, ErrNotReplayed) {
				t.Errorf("check %s: %v", data, err)
			}
		})
	})
}

// FuzzCommandEnd reads what an agent sends at the end of a command.
func FuzzCommandEnd(f *testing.F) {
	f.Add("exit-status", ssh.Marshal(wire.ExitStatus{Status: 3}), "", []byte(nil))
	f.Add("exit-signal", ssh.Marshal(wire.ExitSignal{Signal: "KILL", CoreDumped: true}), "", []byte(nil))
	f.Add(wire.ElapsedRequest, ssh.Marshal(wire.Elapsed{Nanoseconds: 1 << 63}), "exit-status", make([]byte, 4))
	f.Add(wire.StartErrorRequest, []byte(`{"errno":2,"message":"no such file"}`), "", []byte(nil))
	f.Add("exit-status", []byte(nil), "", []byte(nil))
	lost := make(chan struct{})
	close(lost)
	f.Fuzz(func(t *testing.T, first string, firstPayload []byte, second string, secondPayload []byte) {
		client := &Client{stream: &stream{}, done: lost}
		client.stream.fail(errors.New("closed"))
		x := &execution{client: client, name: "cmd"}
		requests := make(chan *ssh.Request, 2)
		requests <- &ssh.Request{Type: first, Payload: firstPayload}
		requests <- &ssh.Request{Type: second, Payload: secondPayload}
		close(requests)
		end, err := x.await(requests)
		for _, err := range []error{end, err} {
			if err == nil {
				continue
			}
			if text := err.Error(); tail.Printable(text) != text {
				t.Errorf("error with control characters: %q", text)
			}
		}
		if x.elapsed < 0 {
			t.Errorf("elapsed %v", x.elapsed)
		}
	})
}
