// Demo-echo is the reference daemon for socket activation. It is an echo server
// (RFC 862) for the sockets that systemd passes to it: one accepted connection
// (Accept=yes), or listeners and datagram sockets (Accept=no). See --help.
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

const usage = `demo-echo sends back what it receives over stream, datagram and sequential packet
sockets (RFC 862). systemd passes the sockets; demo-echo opens none.

Usage: demo-echo [OPTION...]

  --drain-timeout DURATION  how long open connections may go on after SIGTERM or
                            SIGINT before they are reset (default 5s)
  --idle-timeout DURATION   exit when no connection has been open, and no datagram has
                            come, for that long; not with Accept=yes (default 0s, never)
  --max-connections N       serve N connections of each listener at once; further
                            clients wait in the queue (default 0, no bound)
  --config FILE             read FILE at the start and on SIGHUP; its line
                            max-connections=N stands in for --max-connections
  --store                   keep open connections in systemd's file-descriptor store,
                            so that they go on after a restart or a crash

Examples:
  # installed, with its socket unit
  systemctl enable --now demo-echo.socket

  # without a unit, one process for all connections (Accept=no)
  systemd-socket-activate -l 127.0.0.1:9091 demo-echo

  # without a unit, one process per connection, on stdin and stdout (Accept=yes)
  systemd-socket-activate -l 127.0.0.1:9091 --accept --inetd demo-echo

  # a client
  echo hello | nc -N 127.0.0.1 9091

Exit status: 0 success, 1 socket or configuration error, 2 usage error or no sockets.
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
	server, config, err := parse(args)
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
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)

	sockets, err := echo.Inherited()
	if errors.Is(err, echo.ErrNoSockets) {
		fmt.Fprintf(os.Stderr, "demo-echo: %v\n%s", err, noSocketsHelp)
		return 2
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo-echo: %v\n", err)
		return 1
	}
	server.Log, server.Reload = echo.NewLogger(), reload
	if config != "" {
		server.ReadConfig = func() (int, error) { return readConfig(config) }
		if server.MaxConnections, err = server.ReadConfig(); err != nil {
			server.Log.Error("cannot start", "event", "error", "error", err.Error())
			return 1
		}
	}
	if err := server.Serve(ctx, sockets); err != nil {
		server.Log.Error("cannot serve", "event", "error", "error", err.Error())
		return 1
	}
	return 0
}

func parse(args []string) (server *echo.Server, config string, err error) {
	server = new(echo.Server)
	flags := flag.NewFlagSet("demo-echo", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.DurationVar(&server.DrainTimeout, "drain-timeout", echo.DefaultDrainTimeout, "")
	flags.DurationVar(&server.IdleTimeout, "idle-timeout", 0, "")
	flags.IntVar(&server.MaxConnections, "max-connections", 0, "")
	flags.StringVar(&config, "config", "", "")
	flags.BoolVar(&server.Store, "store", false, "")
	if err := flags.Parse(args); err != nil {
		return nil, "", err
	}
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("parse arguments: unexpected %q", flags.Arg(0))
	case server.DrainTimeout < time.Millisecond:
		err = fmt.Errorf("parse --drain-timeout: %s is shorter than 1ms", server.DrainTimeout)
	case server.IdleTimeout < 0:
		err = fmt.Errorf("parse --idle-timeout: %s is negative", server.IdleTimeout)
	case server.MaxConnections < 0:
		err = fmt.Errorf("parse --max-connections: %d is negative", server.MaxConnections)
	}
	return server, config, err
}
