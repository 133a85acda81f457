package guest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// TimeZoneRequest is the name of the control request that changes the guest's time zone. Its
// payload is the name, such as "Europe/Berlin".
const TimeZoneRequest = "time-zone"

// setTimeZone makes localtime in etc a link to a file of zones, as localtime(5) has it. The
// link is replaced at once, because systemd watches it.
func setTimeZone(etc, zones, name string) error {
	if !fs.ValidPath(name) || name == "." {
		return fmt.Errorf("%q is not the name of a time zone", name)
	}
	file := filepath.Join(zones, filepath.FromSlash(name))
	if err := checkZone(file); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no time zone %q in this guest: no file %s (the package tzdata has all)", name, file)
	} else if err != nil {
		return fmt.Errorf("no time zone %q in this guest: %w", name, err)
	}
	target, err := filepath.Rel(etc, file)
	if err != nil {
		return err
	}
	next := filepath.Join(etc, ".localtime.vmtest")
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, next); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(etc, "localtime"))
}

// checkZone returns an error if a file is no description of a time zone (tzfile(5)).
func checkZone(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	const magic = "TZif"
	got := make([]byte, len(magic))
	if _, err := io.ReadFull(f, got); err != nil || string(got) != magic {
		return fmt.Errorf("%s is no tzfile(5)", file)
	}
	return nil
}
