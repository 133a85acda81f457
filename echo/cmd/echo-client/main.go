// Echo-client sends messages to demo-echo and prints each that comes back, quoted, on
// a line of its own. Unlike nc it can use sequential packets, and datagrams from an
// abstract address. Networks are those of [net.Dial].
//
//	echo-client unixpacket /run/demo-echo/packets one "two words"
//	echo-client --unbound unixgram /run/demo-echo/datagrams "no answer"
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"time"
)

// patience is how long all messages may take.
const patience = 30 * time.Second

func main() {
	unbound := flag.Bool("unbound", false, "bind to no address, and wait for no answer")
	flag.Parse()
	if flag.NArg() < 3 {
		fmt.Fprintln(os.Stderr, "usage: echo-client [--unbound] NETWORK ADDRESS MESSAGE...")
		os.Exit(2)
	}
	if err := run(*unbound, flag.Arg(0), flag.Arg(1), flag.Args()[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "echo-client: %v\n", err)
		os.Exit(1)
	}
}

func run(unbound bool, network, address string, messages []string) error {
	var dialer net.Dialer
	if network == "unixgram" && !unbound {
		dialer.LocalAddr = &net.UnixAddr{Net: network, Name: fmt.Sprintf("@echo-client-%d", os.Getpid())}
	}
	conn, err := dialer.Dial(network, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	// All are sent before the first is read, so that a stream would join them.
	for _, m := range messages {
		if _, err := conn.Write([]byte(m)); err != nil {
			return err
		}
	}
	if unbound {
		return nil
	}
	buf := make([]byte, 64<<10)
	for range messages {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		fmt.Printf("%q\n", buf[:n])
	}
	return nil
}
