package host

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// QEMU parses files of the cache, and guests run programs from it. So only this user
// and root may write there, or put another directory in its place.

// checkPrivate returns an *Error unless the directory at the absolute path dir
// belongs to this user, others cannot write in it, and others cannot replace it.
// It follows symbolic links.
//
// The owners of the parents do not count: in a container the home directory often
// belongs to a user of the host. Nor does their group, as home directories are
// writable by the user's own group on many systems.
func checkPrivate(dir string) error {
	const maxLinks = 40 // as in path_resolution(7)
	at, rest, links := "/", components(dir), 0
	for len(rest) > 0 {
		if err := checkParent(dir, at); err != nil {
			return err
		}
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if err != nil {
			return cacheError("check cache directory", err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if uid := owner(info); uid != 0 && uid != os.Geteuid() {
			return &Error{Cause: fmt.Sprintf("cache directory %s: the symbolic link %s belongs to %s", dir, next, userName(uid)),
				Cure: otherCache, Check: CacheDirectory}
		}
		target, err := os.Readlink(next)
		if err != nil {
			return cacheError("check cache directory", err)
		}
		if links++; links > maxLinks {
			return cacheError("check cache directory", &fs.PathError{Op: "readlink", Path: next, Err: unix.ELOOP})
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(components(target), rest...)
	}
	return checkOwn(at)
}

func components(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator })
}

// checkParent returns an *Error if everybody can replace what lies in parent, which
// is on the way to dir.
func checkParent(dir, parent string) error {
	info, err := os.Stat(parent)
	if err != nil {
		return cacheError("check cache directory", err)
	}
	if mode := info.Mode(); mode&0o002 == 0 || mode&fs.ModeSticky != 0 {
		return nil
	}
	return &Error{
		Cause: fmt.Sprintf("cache directory %s: every user can replace what lies in %s (mode %s)", dir, parent, octal(info)),
		Check: CacheDirectory,
		Cure:  fmt.Sprintf("run chmod o-w %s, or %s", parent, otherCache),
	}
}

// checkOwn returns an *Error if the directory belongs to another user, or if others
// can write in it.
func checkOwn(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return cacheError("check cache directory", err)
	}
	if !info.IsDir() {
		return cacheError("check cache directory", &fs.PathError{Op: "open", Path: dir, Err: unix.ENOTDIR})
	}
	if uid := owner(info); uid != os.Geteuid() {
		return &Error{
			Cause: fmt.Sprintf("cache directory %s belongs to %s, not to %s", dir, userName(uid), userName(os.Geteuid())),
			Check: CacheDirectory,
			Cure: fmt.Sprintf("run chown -R %d %s if you trust all files in it, or %s",
				os.Geteuid(), dir, otherCache),
		}
	}
	gid := int(info.Sys().(*syscall.Stat_t).Gid)
	if mode := info.Mode(); mode&0o002 != 0 || mode&0o020 != 0 && !ownGroup(os.Geteuid(), gid) {
		return &Error{
			Cause: fmt.Sprintf("other users can write in the cache directory %s (mode %s)", dir, octal(info)),
			Check: CacheDirectory,
			Cure: fmt.Sprintf("run chmod -R go-w %s if you trust all files in it, or %s",
				dir, otherCache),
		}
	}
	return nil
}

// CheckOwner returns an *Error if another user owns the file or directory at path, or if others
// can write it. info describes it. QEMU parses such files.
func CheckOwner(path string, info fs.FileInfo) error {
	st := info.Sys().(*syscall.Stat_t)
	if int(st.Uid) != os.Geteuid() {
		return &Error{Cause: fmt.Sprintf("%s belongs to %s, not to %s", path, userName(int(st.Uid)), userName(os.Geteuid())),
			Cure: "make a copy of the directory, if you trust who made it", Check: ""} // no line is about it
	}
	if mode := info.Mode(); mode&0o002 != 0 || mode&0o020 != 0 && !ownGroup(os.Geteuid(), int(st.Gid)) {
		return &Error{Cause: fmt.Sprintf("other users can write %s (mode %s)", path, octal(info)),
			Cure: "run chmod -R go-w on the directory, if you trust all files in it", Check: ""} // no line is about it
	}
	return nil
}

// ownGroup reports whether a group is root's, or has the name of the user and with
// that no other members, as useradd(8) makes it. With such a group many systems set
// a umask that lets the group write.
func ownGroup(uid, gid int) bool {
	if gid == 0 {
		return true
	}
	u, errUser := user.LookupId(strconv.Itoa(uid))
	g, errGroup := user.LookupGroupId(strconv.Itoa(gid))
	return errUser == nil && errGroup == nil && uid != 0 && u.Username == g.Name
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

func octal(info fs.FileInfo) string {
	return fmt.Sprintf("%04o", info.Sys().(*syscall.Stat_t).Mode&0o7777)
}

// userName returns a user's name and number, as far as this host has a name.
func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return fmt.Sprintf("user %s (%d)", u.Username, uid)
	}
	return fmt.Sprintf("user %d", uid)
}
