package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// readConfig reads the file of --config: lines of the form NAME=VALUE, empty lines,
// and comments that begin with #. The only name is max-connections.
func readConfig(path string) (maxConnections int, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read configuration: %w", err)
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		if name != "max-connections" {
			return 0, fmt.Errorf("read configuration: %s:%d: unknown name %q", path, number, name)
		}
		if maxConnections, err = strconv.Atoi(value); err != nil || maxConnections < 0 {
			return 0, fmt.Errorf("read configuration: %s:%d: max-connections=%q is not a number from 0 on", path, number, value)
		}
	}
	return maxConnections, nil
}
