package vm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// run plays the machine until the host closes the monitor.
func (m *fakeMachine) run() {
	if m.mute {
		io.Copy(io.Discard, m.monitor)
		return
	}
	m.say(map[string]any{"QMP": map[string]any{"version": map[string]any{}, "capabilities": []string{"oob"}}})
	buf, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4))
	var pending []byte
	for {
		n, oobn, _, _, err := m.monitor.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			m.exit(0, "")
			return
		}
		for _, f := range receivedFiles(m.t, oob[:oobn]) {
			m.mu.Lock()
			m.files[""] = f
			m.mu.Unlock()
		}
		pending = append(pending, buf[:n]...)
		d := json.NewDecoder(bytes.NewReader(pending))
		for {
			var c struct {
				Execute   string
				Arguments json.RawMessage
				ID        any
			}
			if d.Decode(&c) != nil {
				break
			}
			m.answer(c.Execute, c.Arguments, c.ID)
		}
		if rest, err := io.ReadAll(d.Buffered()); err == nil && len(bytes.TrimSpace(rest)) == 0 {
			pending = nil
		}
	}
}

func (m *fakeMachine) answer(name string, arguments json.RawMessage, id any) {
	m.mu.Lock()
	m.asked = append(m.asked, name)
	play := m.on[name]
	m.mu.Unlock()
	if play == nil {
		play = func(arguments json.RawMessage) (any, error) { return m.execute(name, arguments) }
	}
	result, err := play(arguments)
	reply := map[string]any{"id": id}
	if err != nil {
		reply["error"] = map[string]string{"class": "GenericError", "desc": err.Error()}
	} else {
		reply["return"] = result
	}
	m.say(reply)
	if name == "qmp_capabilities" && !m.incoming() {
		m.boot()
	}
}

// execute does what QEMU does.
func (m *fakeMachine) execute(name string, arguments json.RawMessage) (any, error) {
	var args struct {
		ID      string
		Fdname  string
		Reboot  string
		Backend struct {
			Data struct {
				Addr struct{ Data struct{ Str string } }
			}
		}
	}
	if len(arguments) > 0 {
		if err := json.Unmarshal(arguments, &args); err != nil && name == "set-action" {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	done := map[string]any{}
	switch name {
	case "query-status":
		return map[string]any{"status": "running"}, nil
	case "query-cpus-fast":
		return []map[string]int{{"thread-id": os.Getpid()}}, nil
	case "set-action":
		m.rebootAction = args.Reboot
	case "getfd":
		m.files[args.Fdname], m.files[""] = m.files[""], nil
	case "chardev-change":
		stream := streamOf(m.t, m.files[args.Backend.Data.Addr.Data.Str])
		switch args.ID {
		case qemu.JournalID:
			m.journal.plug(stream)
		case qemu.SystemdID:
			m.pid1Port = stream
		default:
			m.agent.connect(stream)
		}
	case "migrate":
		go m.migrateOut(m.files[migrationFile])
	case "migrate-incoming":
		go m.migrateIn(m.files[migrationFile])
	case "query-migrate":
		return map[string]any{"status": "failed", "error-desc": m.failure}, nil
	case "cont":
		m.journal.resume(m.host.logged())
		go func() {
			m.event("RESUME", nil)
			go m.servePID1()
			if m.stopped == nil {
				m.agent.connect(m.link)
				return
			}
			m.agent.resume(m.link, *m.stopped)
		}()
	case "stop":
		m.host.save(m.agent.saved(), m.journal.logged())
		go m.event("STOP", nil)
	case "qmp_capabilities", "migrate-set-capabilities", "migrate-set-parameters", "closefd":
	default:
		return nil, errors.New("no such command: " + name)
	}
	return done, nil
}

func (m *fakeMachine) migrateOut(f *os.File) {
	defer f.Close()
	if _, err := f.WriteString(deviceState); err != nil {
		m.migrated("failed", err.Error())
		return
	}
	m.migrated("completed", "")
}

func (m *fakeMachine) migrateIn(f *os.File) {
	defer f.Close()
	data, err := io.ReadAll(f)
	if err == nil && (m.refusesState || string(data) != deviceState) {
		err = fmt.Errorf("load of migration failed: %q", data)
	}
	if err != nil { // as QEMU does
		m.migrated("failed", err.Error())
		m.exit(1, "qemu: "+err.Error())
		return
	}
	m.migrated("completed", "")
}

func (m *fakeMachine) migrated(status, failure string) {
	m.mu.Lock()
	m.failure = failure
	m.mu.Unlock()
	m.event("MIGRATION", map[string]any{"status": status})
}
