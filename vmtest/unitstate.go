package vmtest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// UnitState is what systemd has about a unit at one moment. Its fields are the properties
// of the same names in org.freedesktop.systemd1(5), unless they say otherwise. Those that
// units of a type do not have are zero.
type UnitState struct {
	Name          string // the unit's own (Id), if it was asked for by an alias
	LoadState     string // such as "loaded" or "masked"
	LoadError     string // why it could not be loaded, or ""
	UnitFileState string // such as "enabled", or "" without a unit file
	ActiveState   string // such as "active"
	SubState      string // such as "listening"
	Result        string // "success", or why it failed, such as "exit-code"
	JobID         uint32 // of the job that the unit has, or 0
	InvocationID  string // of its last start, 32 hexadecimal digits, or "" before the first

	MainPID int // 0 without a main process
	// ExitCode is the exit status of the main process of a service in its last run
	// (ExecMainStatus). It is -1 if a signal ended the process, and if no end is known.
	ExitCode int
	// Signal is the name without SIG, such as "KILL", of the signal that ended the main
	// process, or "".
	Signal     string
	CoreDumped bool   // with Signal only
	StatusText string // as the service reported it; sd_notify(3)
	NRestarts  int    // by Restart= of systemd.service(5)

	// Listen has the addresses of a socket in the order of its unit file.
	Listen []ListenAddress
	// NAccepted, NConnections and NRefused count the connections of a socket with
	// Accept=yes: those accepted, those open, and those refused.
	NAccepted, NConnections, NRefused int

	// CPUUsage is the processor time that the unit used. It, the memory in bytes, and the
	// number of tasks are -1 if systemd does not account for them now; MemoryPeak also
	// before systemd 255.
	CPUUsage                  time.Duration
	MemoryCurrent, MemoryPeak int64
	TasksCurrent              int
}

// ListenAddress is an address on which a socket unit listens.
type ListenAddress struct {
	Type    string // as in Listen…= of systemd.socket(5), such as "Stream" or "Datagram"
	Address string // such as "127.0.0.1:9091" or "/run/demo.sock"
}

// String returns the address as systemctl show prints it.
func (l ListenAddress) String() string { return fmt.Sprintf("%s (%s)", l.Address, l.Type) }

// String returns the states, and what else tells most about a unit of its type, in one line.
func (s UnitState) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s (%s)", s.Name, s.ActiveState, s.SubState)
	if s.LoadState != "loaded" {
		b.WriteString(", " + s.LoadState)
	}
	if s.Result != "" {
		b.WriteString(", result " + s.Result)
	}
	if s.ExitCode > 0 || s.Signal != "" {
		fmt.Fprintf(&b, ", %v", &ExitError{s.ExitCode, s.Signal, s.CoreDumped})
	}
	if s.JobID != 0 {
		fmt.Fprintf(&b, ", has job %d", s.JobID)
	}
	if s.NRestarts != 0 {
		fmt.Fprintf(&b, ", NRestarts %d", s.NRestarts)
	}
	if len(s.Listen) > 0 {
		fmt.Fprintf(&b, ", NAccepted %d, NConnections %d, NRefused %d", s.NAccepted, s.NConnections, s.NRefused)
	}
	return tail.Printable(b.String())
}

// State returns the state of the unit. A unit that does not exist is an [ErrNoUnit].
func (u *MachineUnit) State(ctx context.Context) (UnitState, error) {
	p, err := u.machine.units().Properties(ctx, u.name)
	if err != nil {
		return UnitState{}, fmt.Errorf("read state of %s: %w", u.label(), public(err))
	}
	return unitState(p), nil
}

// Instances returns the states of the instances of a template, such as
// "demo-echo@.service", in the order of their names. As in systemctl list-units they are
// those that run, have failed, or have a job.
func (u *MachineUnit) Instances(ctx context.Context) ([]UnitState, error) {
	names, err := u.machine.units().Instances(ctx, u.name)
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", public(err))
	}
	var all []UnitState
	for _, name := range names {
		s, err := u.machine.Unit(name).State(ctx)
		if errors.Is(err, ErrNoUnit) || err == nil && s.ActiveState == "inactive" && s.JobID == 0 {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// unitState returns the state that the properties of a unit have.
func unitState(p map[string]any) UnitState {
	internal := systemd.StateOf(p)
	s := UnitState{
		Name: internal.ID, LoadState: internal.LoadState, LoadError: internal.LoadError,
		ActiveState: internal.ActiveState, SubState: internal.SubState, JobID: systemd.JobOf(p),
		UnitFileState: text(p["UnitFileState"]), Result: text(p["Result"]), StatusText: text(p["StatusText"]),
		MainPID: number(p["MainPID"]), NRestarts: number(p["NRestarts"]),
		NAccepted: number(p["NAccepted"]), NConnections: number(p["NConnections"]), NRefused: number(p["NRefused"]),
		CPUUsage: time.Duration(amount(p["CPUUsageNSec"])), TasksCurrent: int(amount(p["TasksCurrent"])),
		MemoryCurrent: amount(p["MemoryCurrent"]), MemoryPeak: amount(p["MemoryPeak"]),
	}
	s.ExitCode, s.Signal, s.CoreDumped = internal.End()
	if id, _ := p["InvocationID"].([]byte); len(id) > 0 {
		s.InvocationID = hex.EncodeToString(id)
	}
	addresses, _ := p["Listen"].([][]any)
	for _, a := range addresses {
		if len(a) == 2 {
			s.Listen = append(s.Listen, ListenAddress{text(a[0]), text(a[1])})
		}
	}
	return s
}

func text(value any) string {
	s, _ := value.(string)
	return s
}

func number(value any) int {
	n, _ := value.(uint32)
	return int(n)
}

// amount returns a number that systemd may not have, or -1.
func amount(value any) int64 {
	n, ok := value.(uint64)
	if !ok || n > math.MaxInt64 {
		return -1
	}
	return int64(n)
}

// State returns the state of the unit, as MachineUnit.State.
func (u *Unit) State(t testing.TB) UnitState {
	t.Helper()
	return get(t, u.guest, u.unit.State)
}

// Instances returns the states of the instances of a template, as MachineUnit.Instances.
func (u *Unit) Instances(t testing.TB) []UnitState {
	t.Helper()
	return get(t, u.guest, u.unit.Instances)
}
