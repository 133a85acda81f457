package snapshots

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// identity is what stat(2) says of a file that nobody has touched since. A memory
// file has hundreds of megabytes, and to hash it would cost more than all the rest
// of a fork. The time of change moves with every write, also one through mmap(2),
// and no program can set it back.
type identity struct {
	Dev   uint64 `json:"dev"`
	Ino   uint64 `json:"ino"`
	Size  int64  `json:"size"`
	Mtime int64  `json:"mtime"` // ns since the epoch
	Ctime int64  `json:"ctime"`
}

func identify(f *os.File) (identity, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return identity{}, fmt.Errorf("stat %s: %w", filepath.Base(f.Name()), err)
	}
	return identity{
		Dev:   uint64(st.Dev),
		Ino:   st.Ino,
		Size:  st.Size,
		Mtime: st.Mtim.Nano(),
		Ctime: st.Ctim.Nano(),
	}, nil
}
