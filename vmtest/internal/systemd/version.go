package systemd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// version returns systemd's own version, such as "257.13-1~deb13u1".
func (c *connection) version(ctx context.Context) (string, error) {
	var version string
	manager := c.raw.Object(managerName, managerPath)
	err := manager.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, managerInterface, "Version").Store(&version)
	if err != nil && err == ctx.Err() {
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("read systemd's version: %w", c.ended(err))
	}
	return version, nil
}

// majorOf returns the number that a version begins with, or 0. Some distributions begin
// with a "v".
func majorOf(version string) int {
	digits := strings.TrimPrefix(version, "v")
	end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || '9' < r })
	if end < 0 {
		end = len(digits)
	}
	major, _ := strconv.Atoi(digits[:end])
	return major
}
