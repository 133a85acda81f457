// Demo-echo is the reference daemon for socket activation. It is an echo server
// (RFC 862) for the sockets that systemd passes to it: one accepted connection
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
systemd passes the sockets; demo-echo opens none.

Usage: demo-echo [--drain-timeout DURATION] [--idle-timeout DURATION]

  --drain-timeout DURATION  how long open connections may go on after SIGTERM or
                            SIGINT before they are reset (default 5s)
  --idle-timeout DURATION   exit when no connection has been open for that long;
                            listening sockets only (default 0s, never)

Examples:
  # installed, with its socket unit
  systemctl enable --now demo-echo.socket

  # without a unit, one process for all connections (Accept=no)
  systemd-socket-activate -l 127.0.0.1:9091 demo-echo

  # without a unit, one process per connection, on stdin and stdout (Accept=yes)
  systemd-socket-activate -l 127.0.0.1:9091 --accept --inetd demo-echo

  # a client
  echo hello | nc -N 127.0.0.1 9091

Exit status: 0 success, 1 socket error, 2 usage error or no sockets.
`

const noSocketsHelp = `demo-echo needs a socket from one of these:
  a socket unit                    systemctl start demo-echo.socket
  systemd-socket-activate          systemd-socket-activate -l 127.0.0.1:9091 demo-echo
  StandardInput=socket             template service of a socket unit with Accept=yes
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
	// When journald restarts, a write to standard error raises SIGPIPE, which
	// would end the program (os/signal).
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
