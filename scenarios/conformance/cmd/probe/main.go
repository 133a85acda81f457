// Probe is the program of the units that the conformance set tests. Started by systemd, it
// serves every socket that it was passed and reports about itself to each client that asks.
// With arguments it is a client for sockets that only a program in the guest can reach.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

const usage = `probe serves the sockets that systemd passes, or is a client.

Usage: probe [-notify] [-store NAME] [-wait PATH] [-idle DURATION] [-lines N]
       probe dial [-bind PATH] [-reset] [-times N] NETWORK ADDRESS [MESSAGE...]
       probe xattr PATH NAME

A client sends lines. These are commands, and all others are sent back:

  report        what the process was started with, as one line of JSON
  env NAME      a variable of the environment, or "unset"
  bind ADDRESS  try to listen on a TCP address; "ok" or the error
  exit N        exit with status N
  kill          end by SIGKILL
`

func main() {
	args := os.Args[1:]
	run := serve
	if len(args) > 0 {
		switch args[0] {
		case "dial":
			run, args = dial, args[1:]
		case "xattr":
			run, args = xattr, args[1:]
		}
	}
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

// options are the flags of a probe that serves.
type options struct {
	notify bool
	wait   string
	store  string
	idle   time.Duration
	lines  int
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	flags.BoolVar(&o.notify, "notify", false, "send READY=1 before serving")
	flags.StringVar(&o.wait, "wait", "", "wait until `PATH` exists before that")
	flags.StringVar(&o.store, "store", "", "put a descriptor of this `NAME` into systemd's store")
	flags.DurationVar(&o.idle, "idle", 0, "exit when nothing has come for that long")
	flags.IntVar(&o.lines, "lines", 0, "exit after that number of lines or datagrams; 0 is never")
	return o, flags.Parse(args)
}
