package echo

import (
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// storedPrefix begins the names of connections in the file-descriptor store. The
// inode of the socket and the name of its listener follow.
const storedPrefix = "stored-"

// maxFDName is how long systemd lets the name of a descriptor be (FDNAME= in
// sd_notify(3)).
const maxFDName = 255

// store puts a duplicate of conn into the service manager's file-descriptor store
// (FDSTORE=1 in sd_notify(3)), and returns a function that takes it out again.
//
// The store ignores what exceeds FileDescriptorStoreMax=, and reports that in its
// own log only.
func store(conn Conn, log *slog.Logger) (remove func()) {
	file, ok := conn.Conn.(syscall.Conn)
	if !ok {
		return func() {}
	}
	name, err := storedName(file, conn.Name)
	if err != nil {
		log.Error("cannot store connection", "error", err.Error())
		return func() {}
	}
	notifyWithFile(log, "FDSTORE=1\nFDNAME="+name, file)
	return func() { notify(log, "FDSTOREREMOVE=1\nFDNAME="+name) }
}

// storedName returns the name of a connection in the store. No two open sockets have
// the same inode, in whichever process they are.
func storedName(file syscall.Conn, listener string) (string, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return "", err
	}
	var stat unix.Stat_t
	if cerr := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &stat) }); cerr != nil {
		return "", cerr
	}
	name := fmt.Sprintf("%s%d-%s", storedPrefix, stat.Ino, listener)
	return name[:min(len(name), maxFDName)], os.NewSyscallError("fstat", err)
}
