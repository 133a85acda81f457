// Package initrd builds the initial RAM file system that brings an image's root
// file system up and puts the guest agent into it.
package initrd

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/guest"
)

// Archive is what goes into an initrd.
type Archive struct {
	Agent      []byte            // the agent's executable, which is also the init
	ModulesDir string            // host folder with lib/modules/VERSION; its modules are not compressed
	Modules    []string          // names of the modules to load, in order
	Run        map[string]string // files for the guest's /run: path below /run to content
	RunLinks   map[string]string // symbolic links likewise: path below /run to target
}

// Build writes the archive to an anonymous file in memory, which the caller
// closes. The same input gives the same bytes.
func Build(a Archive) (*os.File, error) {
	records, err := a.records()
	if err != nil {
		return nil, fmt.Errorf("build initrd: %w", err)
	}
	fd, err := unix.MemfdCreate("initrd", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("build initrd: %w", os.NewSyscallError("memfd_create", err))
	}
	f := os.NewFile(uintptr(fd), "initrd")
	cpio.MakeAllReproducible(records)
	w := cpio.Newc.Writer(f)
	if err = cpio.WriteRecordsAndDirs(w, records); err == nil {
		err = cpio.WriteTrailer(w)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("build initrd: write archive: %w", err)
	}
	return f, nil
}

func (a Archive) records() ([]cpio.Record, error) {
	config, err := json.Marshal(guest.InitConfig{Modules: a.Modules})
	if err != nil {
		return nil, err
	}
	records := []cpio.Record{
		cpio.StaticFile("init", string(a.Agent), 0o755),
		cpio.StaticFile(strings.TrimPrefix(guest.ConfigPath, "/"), string(config), 0o644),
		// The kernel opens it for PID 1 before devtmpfs is mounted, so that what
		// init has to say reaches the console.
		cpio.Directory("dev", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
	}
	modules, err := moduleRecords(a.ModulesDir)
	if err != nil {
		return nil, err
	}
	records = append(records, modules...)
	tree := strings.TrimPrefix(guest.RunTree, "/")
	records = append(records, cpio.Directory(tree, 0o755))
	for _, path := range sortedKeys(a.Run) {
		records = append(records, cpio.StaticFile(filepath.Join(tree, path), a.Run[path], 0o644))
	}
	for _, path := range sortedKeys(a.RunLinks) {
		records = append(records, cpio.Symlink(filepath.Join(tree, path), a.RunLinks[path]))
	}
	return records, nil
}

func moduleRecords(dir string) ([]cpio.Record, error) {
	var records []cpio.Record
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		records = append(records, cpio.StaticFile(rel, string(data), 0o644))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read kernel modules: %w", err)
	}
	return records, nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
