// The agent does not follow the version of Go in the go.mod of the module that builds it
// (https://go.dev/doc/godebug).
//go:debug default=go1.26

// Command agent is the program that the framework puts into a guest. As PID 1 of
// the initrd it brings the image up and hands over to systemd; started by systemd
// as vmtest-agent.service it answers the host over the guest link.
package main

import (
	"os"

	"example.org/systemd-vmtest/vmtest/internal/guest"
)

func main() { os.Exit(guest.Main()) }
