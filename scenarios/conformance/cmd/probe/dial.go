package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dial is a client: it sends each message and prints the answer to it.
func dial(args []string) error {
	flags := flag.NewFlagSet("probe dial", flag.ContinueOnError)
	reset := flags.Bool("reset", false, "reset the connection instead of closing it")
	bind := flags.String("bind", "", "`PATH` that an AF_UNIX client binds to")
	times := flags.Int("times", 1, "how often to connect, one connection after the other")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return errors.New("dial needs a network and an address")
	}
	network, address, messages := flags.Arg(0), flags.Arg(1), flags.Args()[2:]
	for range *times {
		c, err := open(network, address, *bind)
		if err != nil {
			return err
		}
		if err := talk(c, network, messages); err != nil {
			return err
		}
		if t, ok := c.(*net.TCPConn); ok && *reset {
			t.SetLinger(0)
		}
		c.Close()
	}
	return nil
}

// open connects. A datagram socket gets an address of its own, so that it can be answered.
func open(network, address, bind string) (net.Conn, error) {
	if network == "unixgram" && bind == "" {
		bind = fmt.Sprintf("@probe-%d", os.Getpid())
	}
	if bind != "" {
		return net.DialUnix(network, &net.UnixAddr{Name: bind, Net: network}, &net.UnixAddr{Name: address, Net: network})
	}
	return net.Dial(network, address)
}

// talk sends each message and prints the answer.
func talk(c net.Conn, network string, messages []string) error {
	end := ""
	if strings.HasPrefix(network, "tcp") || network == "unix" {
		end = "\n"
	}
	buf := make([]byte, 64<<10)
	for _, m := range messages {
		if _, err := c.Write([]byte(m + end)); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := c.Read(buf)
		if err != nil {
			return fmt.Errorf("answer to %q: %w", m, err)
		}
		fmt.Println(strings.TrimSuffix(string(buf[:n]), "\n"))
	}
	return nil
}

// xattr prints an extended attribute of a path.
func xattr(args []string) error {
	if len(args) != 2 {
		return errors.New("xattr needs a path and a name")
	}
	value := make([]byte, 256)
	n, err := unix.Getxattr(args[0], args[1], value)
	if err != nil {
		return fmt.Errorf("read %s of %s: %w", args[1], args[0], err)
	}
	fmt.Println(string(value[:n]))
	return nil
}
