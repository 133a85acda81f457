// The agent does not follow the version of Go in the go.mod of the module that builds it
// (https://go.dev/doc/godebug).
//go:debug default=go1.26

// Command agent is the program that the framework puts into a guest. As PID 1 of
// the initrd it brings the image up and hands over to systemd; started by systemd
// as vmtest-agent.service it answers the host over the guest link.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"example.org/systemd-vmtest/vmtest/internal/guest"
)

func main() {
	if os.Getpid() == 1 {
		// When PID 1 exits, the kernel panics. The host shows its last lines.
		fmt.Fprintf(os.Stderr, "%s%v\n", guest.InitFailed, guest.Init())
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := guest.Serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "vmtest agent:", err)
		os.Exit(1)
	}
}
