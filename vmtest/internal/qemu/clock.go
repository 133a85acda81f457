package qemu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/host"
)

// Clock is where a QEMU that emulates keeps the time of its guest: a counter of nanoseconds,
// from which all timers and counters of the devices follow, and the processors' time-stamp
// counter. QEMU has no command that sets them, so Clock writes QEMU's memory, as a debugger
// would. This is safe while the guest is stopped: the two fields then hold plain values, and
// QEMU continues from them (struct TimersState of QEMU's sources, the same from 4.2 to 7.2).
type Clock struct {
	memory *os.File
	at     int64 // address of cpu_clock_offset
}

// Reading is what a guest's clock shows.
type Reading struct {
	Elapsed time.Duration // since the guest's power-on
	Ticks   int64         // of the time-stamp counter, since then too
}

// Later returns what the clock shows when d has passed.
func (r Reading) Later(d time.Duration) Reading {
	return Reading{r.Elapsed + d, r.Ticks + int64(float64(d)*r.rate())}
}

// rate returns the ticks in a nanosecond.
func (r Reading) rate() float64 { return float64(r.Ticks) / float64(r.Elapsed) }

// Follows reports whether both values went on alike since before.
func (r Reading) Follows(before Reading) bool {
	const tolerance = 100 * time.Microsecond // QEMU reads the two one after the other
	passed := time.Duration(float64(r.Ticks-before.Ticks) / before.rate())
	off := passed - (r.Elapsed - before.Elapsed)
	return r.Elapsed > before.Elapsed && off.Abs() <= tolerance+passed/100
}

// Offsets of the fields of struct TimersState from cpu_clock_offset.
const (
	ticksField   = -48 // cpu_ticks_offset
	enabledField = -32 // cpu_ticks_enabled, 16 bits
	deltaField   = -24 // last_delta, which icount uses
	biasField    = -16 // qemu_icount_bias
	warpField    = -8  // vm_clock_warp_start
	icountField  = 8   // qemu_icount
	fieldsBefore = 48
	fieldsAfter  = 16
)

// ErrNoClock reports that a QEMU's memory has no struct that can be the guest's clock.
var ErrNoClock = errors.New("no clock found in QEMU's memory")

// OpenClock finds the clock of a QEMU whose guest is stopped. shows reports whether a time is
// what a device of the guest shows. The caller closes the clock.
func (p *Process) OpenClock(shows func(time.Duration) bool) (*Clock, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.Pid()))
	if err != nil {
		return nil, fmt.Errorf("find the guest's clock: %w", err)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.Pid()))
	if err != nil {
		return nil, fmt.Errorf("find the guest's clock: %w", err)
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", p.Pid()), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, &host.Error{
			Cause: "no right to write the memory of QEMU, a child of this process",
			Cure:  "set kernel.yama.ptrace_scope to 0 or 1, and allow ptrace where a container forbids it",
			Check: "",
			Err:   err,
		}
	}
	if err != nil {
		return nil, fmt.Errorf("find the guest's clock: %w", err)
	}
	var found []int64
	for _, r := range variables(string(maps), exe) {
		data := make([]byte, r.end-r.start)
		if _, err := memory.ReadAt(data, r.start); err != nil {
			memory.Close()
			return nil, fmt.Errorf("read QEMU's memory: %w", err)
		}
		for _, at := range clocksIn(data, shows) {
			found = append(found, r.start+at)
		}
	}
	if len(found) != 1 {
		memory.Close()
		return nil, fmt.Errorf("%w (%d places fit; QEMU 7.2 has one)", ErrNoClock, len(found))
	}
	return &Clock{memory, found[0]}, nil
}

// Close gives up the clock.
func (c *Clock) Close() error { return c.memory.Close() }

// Read returns the time of a stopped guest.
func (c *Clock) Read() (Reading, error) {
	ticks, err := c.field(ticksField)
	if err != nil {
		return Reading{}, err
	}
	elapsed, err := c.field(0)
	return Reading{time.Duration(elapsed), ticks}, err
}

// Write sets the time of a stopped guest.
func (c *Clock) Write(r Reading) error {
	if err := c.setField(ticksField, r.Ticks); err != nil {
		return err
	}
	return c.setField(0, int64(r.Elapsed))
}

func (c *Clock) field(offset int64) (int64, error) {
	var data [8]byte
	if _, err := c.memory.ReadAt(data[:], c.at+offset); err != nil {
		return 0, fmt.Errorf("read QEMU's memory: %w", err)
	}
	return int64(binary.NativeEndian.Uint64(data[:])), nil
}

func (c *Clock) setField(offset, value int64) error {
	var data [8]byte
	binary.NativeEndian.PutUint64(data[:], uint64(value))
	if _, err := c.memory.WriteAt(data[:], c.at+offset); err != nil {
		return fmt.Errorf("write QEMU's memory: %w", err)
	}
	return nil
}

// clocksIn returns the offsets in data of what can be the clock of a stopped guest.
func clocksIn(data []byte, shows func(time.Duration) bool) (found []int64) {
	word := func(at int) int64 { return int64(binary.NativeEndian.Uint64(data[at:])) }
	for at := fieldsBefore; at+fieldsAfter <= len(data); at += 8 {
		clock, ticks, warp := word(at), word(at+ticksField), word(at+warpField)
		switch {
		case clock <= 0, ticks <= 0, warp != 0 && warp != -1,
			binary.NativeEndian.Uint16(data[at+enabledField:]) != 0,
			word(at+deltaField) != 0, word(at+biasField) != 0, word(at+icountField) != 0,
			!shows(time.Duration(clock)):
		default:
			found = append(found, int64(at))
		}
	}
	return found
}

// mapping is a range of addresses.
type mapping struct{ start, end int64 }

// variables returns where a process has the variables of its executable: the writable
// mappings of the file, and the anonymous one behind them (proc_pid_maps(5)).
func variables(maps, exe string) (found []mapping) {
	var end int64 // of the executable so far
	for line := range strings.Lines(maps) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		from, to, ok := strings.Cut(f[0], "-")
		start, err1 := strconv.ParseInt(from, 16, 64)
		stop, err2 := strconv.ParseInt(to, 16, 64)
		if !ok || err1 != nil || err2 != nil {
			continue
		}
		isExe := len(f) > 5 && strings.Join(f[5:], " ") == exe
		if !isExe && (len(f) > 5 || start != end) {
			continue
		}
		end = stop
		if strings.HasPrefix(f[1], "rw") {
			found = append(found, mapping{start, stop})
		}
	}
	return found
}
