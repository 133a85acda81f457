// Command demo-echo is the reference daemon for socket activation: an echo
// server (RFC 862) that serves what systemd passes to it, one accepted connection
// (Accept=yes) or listening sockets (Accept=no). See --help.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.org/systemd-vmtest/echo"
)

const usage = `demo-echo sends back what it receives over stream sockets (RFC 862).
It opens none itself: systemd passes them.

Usage: demo-echo [--drain-timeout DURATION] [--idle-timeout DURATION]

  --drain-timeout DURATION  on SIGTERM or SIGINT, let open connections go on for
                            that long, then reset them (default 5s)
  --idle-timeout DURATION   exit when no connection was open for that long;
                            listening sockets only (default 0s, never)

Examples:
  # installed, with its socket unit
  systemctl enable --now demo-echo.socket

  # by hand, one process for all connections (Accept=no)
  systemd-socket-activate -l 127.0.0.1:9091 demo-echo

  # by hand, one process for each connection, on stdin and stdout (Accept=yes)
  systemd-socket-activate -l 127.0.0.1:9091 --accept --inetd demo-echo

  # a client
  echo hello | nc -N 127.0.0.1 9091

Exit status: 0 stopped or served, 1 trouble with the sockets, 2 usage or no sockets.
`

const noSocketsHelp = `demo-echo needs a socket from one of these:
  a socket unit                    systemctl start demo-echo.socket
  systemd-socket-activate          systemd-socket-activate -l 127.0.0.1:9091 demo-echo
  StandardInput=socket             in the template service of a socket unit with Accept=yes
`

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	server, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		return 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo-echo: %v (see --help)\n", err)
		return 2
	}
	// A journald that restarts closes its end of standard error; Go would die of
	// the SIGPIPE there.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	sockets, err := echo.Inherited()
	if errors.Is(err, echo.ErrNoSockets) {
		fmt.Fprintf(os.Stderr, "demo-echo: %v\n%s", err, noSocketsHelp)
		return 2
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo-echo: %v\n", err)
		return 1
	}
	server.Log = echo.NewLogger()
	if err := server.Serve(ctx, sockets); err != nil {
		server.Log.Error("cannot serve", "event", "error", "error", err.Error())
		return 1
	}
	return 0
}

func parse(args []string) (*echo.Server, error) {
	var server echo.Server
	flags := flag.NewFlagSet("demo-echo", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.DurationVar(&server.DrainTimeout, "drain-timeout", echo.DefaultDrainTimeout, "")
	flags.DurationVar(&server.IdleTimeout, "idle-timeout", 0, "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("parse arguments: unexpected %q", flags.Arg(0))
	}
	if server.DrainTimeout < time.Millisecond {
		return nil, fmt.Errorf("parse --drain-timeout: %s is shorter than 1ms", server.DrainTimeout)
	}
	if server.IdleTimeout < 0 {
		return nil, fmt.Errorf("parse --idle-timeout: %s is negative", server.IdleTimeout)
	}
	return &server, nil
}
