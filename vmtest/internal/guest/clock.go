package guest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// ClockRequest is the name of the control request that changes and returns the guest's wall
// clock. ChangeClock sends it.
const ClockRequest = "clock"

// ClockChange is what to do with the wall clock. Its zero value changes nothing.
type ClockChange struct {
	Set  time.Time     // if not zero, what the clock shows afterwards
	Step time.Duration // goes ahead or back at once
	Slew time.Duration // goes faster or slower until this is made up for (adjtime(3))

	Hardware bool // sets the hardware's clock, with which the next boot begins
}

// clockRequest is a ClockChange, marshalled by the ssh package, which has no signed numbers.
type clockRequest struct {
	HasSet          bool
	Set, Step, Slew uint64
	Hardware        bool
}

// clockReply is its reply.
type clockReply struct{ UnixNano uint64 }

// ChangeClock makes an agent change the guest's wall clock. It returns what the clock shows
// then.
func ChangeClock(ctx context.Context, agent Controller, c ClockChange) (time.Time, error) {
	request := clockRequest{Step: uint64(c.Step), Slew: uint64(c.Slew), Hardware: c.Hardware}
	if !c.Set.IsZero() {
		request.HasSet, request.Set = true, uint64(c.Set.UnixNano())
	}
	data, err := agent.Control(ctx, ClockRequest, ssh.Marshal(request))
	if err != nil {
		return time.Time{}, err
	}
	var reply clockReply
	if err := ssh.Unmarshal(data, &reply); err != nil {
		return time.Time{}, fmt.Errorf("parse reply: %w", err)
	}
	return time.Unix(0, int64(reply.UnixNano)), nil
}

// changeClock answers a ClockRequest.
func changeClock(payload []byte) ([]byte, error) {
	var r clockRequest
	if err := ssh.Unmarshal(payload, &r); err != nil {
		return nil, fmt.Errorf("parse clock request: %w", err)
	}
	if r.HasSet {
		if err := setWallClock(time.Unix(0, int64(r.Set))); err != nil {
			return nil, err
		}
	}
	if r.Step != 0 {
		now, err := wallClock()
		if err != nil {
			return nil, err
		}
		if err := setWallClock(now.Add(time.Duration(r.Step))); err != nil {
			return nil, err
		}
	}
	if r.Slew != 0 {
		// ADJ_OFFSET_SINGLESHOT, which the unix package lacks.
		timex := unix.Timex{Modes: 0x8001, Offset: time.Duration(r.Slew).Microseconds()}
		if _, err := unix.Adjtimex(&timex); err != nil {
			return nil, fmt.Errorf("slew clock by %v: %w", time.Duration(r.Slew), err)
		}
	}
	now, err := wallClock()
	if err == nil && r.Hardware {
		err = setHardwareClock(now)
	}
	if err != nil {
		return nil, err
	}
	return ssh.Marshal(clockReply{uint64(now.UnixNano())}), nil
}

func wallClock() (time.Time, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return time.Time{}, fmt.Errorf("read clock: %w", err)
	}
	return time.Unix(0, ts.Nano()), nil
}

func setWallClock(at time.Time) error {
	ts := unix.NsecToTimespec(at.UnixNano())
	return clockError(at, unix.ClockSettime(unix.CLOCK_REALTIME, &ts))
}

// clockError returns the error for a clock that was not set, or nil.
func clockError(at time.Time, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("set clock to %s: %w", at.UTC().Format(time.RFC3339), err)
	if errors.Is(err, unix.EINVAL) { // CheckClock of the host has refused what no kernel takes
		return fmt.Errorf("%w: the kernel refuses a time at which its boot would be before 1970", err)
	}
	return err
}

// setHardwareClock sets the clock of rtc(4).
func setHardwareClock(at time.Time) error {
	fd, err := unix.Open("/dev/rtc0", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/rtc0: %w", err)
	}
	defer unix.Close(fd)
	at = at.UTC()
	err = unix.IoctlSetRTCTime(fd, &unix.RTCTime{
		Sec: int32(at.Second()), Min: int32(at.Minute()), Hour: int32(at.Hour()),
		Mday: int32(at.Day()), Mon: int32(at.Month()) - 1, Year: int32(at.Year()) - 1900,
	})
	if err != nil {
		return fmt.Errorf("set /dev/rtc0 to %s: %w", at.Format(time.RFC3339), err)
	}
	return nil
}
