package host

import (
	"fmt"
	"io/fs"
	"syscall"
)

// Identity is what stat(2) reports of a file and what changes with its content.
// Images and snapshots have hundreds of megabytes: to hash them would cost more than
// the rest of a start. The change time moves with every write, also one through
// mmap(2), and no program can set it back.
type Identity struct {
	Dev   uint64 `json:"dev"`
	Ino   uint64 `json:"ino"`
	Size  int64  `json:"size"`
	Mtime int64  `json:"mtime"` // ns since the epoch
	Ctime int64  `json:"ctime"`
}

// Identify returns the identity of a regular file.
func Identify(info fs.FileInfo) (Identity, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return Identity{}, fmt.Errorf("identify %s: not a regular file", info.Name())
	}
	return Identity{
		Dev:   uint64(st.Dev),
		Ino:   st.Ino,
		Size:  st.Size,
		Mtime: st.Mtim.Nano(),
		Ctime: st.Ctim.Nano(),
	}, nil
}
