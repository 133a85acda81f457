package echo

import (
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notify sends a state to the service manager, if NOTIFY_SOCKET is set (sd_notify(3)).
// An error is logged only: if READY=1 is lost, systemd's start timeout applies.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Error("cannot notify systemd", "state", state, "error", err.Error())
	}
}

// notifyWithFile is notify with a descriptor, which [daemon.SdNotify] cannot send.
func notifyWithFile(log *slog.Logger, state string, file syscall.Conn) {
	if err := sendFile(os.Getenv("NOTIFY_SOCKET"), state, file); err != nil {
		log.Error("cannot notify systemd", "state", state, "error", err.Error())
	}
}

func sendFile(path, state string, file syscall.Conn) error {
	if path == "" {
		return nil
	}
	// net.UnixConn refuses to send a descriptor over a connected datagram socket.
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(socket) }()
	raw, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("get descriptor: %w", err)
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.Sendmsg(socket, []byte(state), unix.UnixRights(int(fd)), &unix.SockaddrUnix{Name: path}, unix.MSG_NOSIGNAL)
	})
	if cerr != nil {
		return fmt.Errorf("get descriptor: %w", cerr)
	}
	return os.NewSyscallError("sendmsg", err)
}
