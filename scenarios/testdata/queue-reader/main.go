// Queue-reader prints each message of the queue that is its descriptor 3, and answers it in the
// queue /demo-answers, which it makes.
package main

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "queue-reader:", err)
		os.Exit(1)
	}
}

func serve() error {
	name, err := unix.BytePtrFromString("demo-answers")
	if err != nil {
		return err
	}
	answers, err := call(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_CREAT|unix.O_WRONLY, 0o600, 0)
	if err != nil {
		return fmt.Errorf("open queue of answers: %w", err)
	}
	message := make([]byte, 64)
	for {
		n, err := call(unix.SYS_MQ_TIMEDRECEIVE, 3, uintptr(unsafe.Pointer(&message[0])), uintptr(len(message)), 0)
		if err == unix.EAGAIN {
			// systemd has opened it without blocking.
			_, err = unix.Poll([]unix.PollFd{{Fd: 3, Events: unix.POLLIN}}, -1)
			if err != nil && err != unix.EINTR {
				return fmt.Errorf("wait for message: %w", err)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("receive message: %w", err)
		}
		fmt.Printf("received %q\n", message[:n])
		answer := []byte(strings.ToUpper(string(message[:n])) + "!")
		if _, err := call(unix.SYS_MQ_TIMEDSEND, answers, uintptr(unsafe.Pointer(&answer[0])), uintptr(len(answer)), 0); err != nil {
			return fmt.Errorf("send answer: %w", err)
		}
	}
}

func call(number, a, b, c, d uintptr) (uintptr, error) {
	n, _, errno := unix.Syscall6(number, a, b, c, d, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return n, nil
}
