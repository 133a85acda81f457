// Package ordinary lets a test that runs as root see what an ordinary user sees.
package ordinary

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// uid is a user that owns nothing.
const uid = 12345

// Run runs f as an ordinary user, and returns its error. In a process of root it changes
// the effective user of one thread for f, gives that user the files paths, and lets others
// enter the directories above the first of them until f returns. In any other process it
// only runs f.
func Run(paths []string, f func() error) error {
	if os.Geteuid() != 0 {
		return f()
	}
	for _, path := range paths {
		if err := os.Chown(path, uid, -1); err != nil {
			return err
		}
	}
	if len(paths) > 0 {
		for dir := filepath.Dir(paths[0]); dir != "/"; dir = filepath.Dir(dir) {
			info, err := os.Stat(dir)
			if err != nil {
				return err
			}
			const enter = 0o011 // the user stays in root's group
			if mode := info.Mode(); mode&enter != enter {
				if err := os.Chmod(dir, mode|enter); err != nil {
					return err
				}
				defer os.Chmod(dir, mode)
			}
		}
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		const same = ^uintptr(0)
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, same, uid, same); errno != 0 {
			result <- os.NewSyscallError("setresuid", errno)
			return
		}
		result <- f()
	}()
	return <-result
}
