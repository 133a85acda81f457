package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/rootfs"
	"example.org/systemd-vmtest/internal/tail"
)

// ImportOptions sets what an import takes besides its source. The zero value is right
// for most.
type ImportOptions struct {
	Options

	// Kernel is the name of the image, one of [Names], whose kernel and modules the guest
	// gets if the source has no kernel that can be used. "" is [Default].
	Kernel string

	// MaxBytes bounds the contents of the source's files. 0 is 16 GB.
	MaxBytes int64
}

const defaultMaxBytes = 16e9

// ImportError reports that a source is not the root file system of a guest: it is torn,
// too large, for another processor, or has no systemd. Its fields are Source, the path;
// Cause and Cure, a line each; and Err, the error behind it; the last two may be empty.
type ImportError = rootfs.Error

// Import makes an image of the root file system of any distribution with systemd, and
// keeps it in the cache under a name of letters, digits, dots, dashes and underscores.
// [Open], [List] and [Remove] take that name like those of [Names]. Import replaces an
// image of the same name that was imported before. An import that fails or whose ctx ends
// changes nothing.
//
// source is the path of a directory, a tar archive, an OCI layout (a directory or a tar
// archive), or an archive of docker save. Archives may be compressed by gzip, zstd or xz.
// Import never unpacks them: devices, owners and set-user-ID bits are as in the source,
// and only in the image. Files of the owner of a directory belong to root in the image.
//
// The guest boots the newest kernel of the source that has a modules.dep and the drivers
// of a virtual machine, as modules or built in; or else that of o.Kernel, with its
// modules. Import leaves out /.dockerenv and what is in /dev, /proc, /run and /sys,
// empties /etc/machine-id, and comments out the lines of /etc/fstab that name disks or
// network shares. Notices report the kernel, such lines, and what the guest lacks (see
// Lacks of [Manifest]). Manifest.Packages lists the packages in the database of dpkg or
// pacman; that of RPM is not read.
//
// What is tested is Debian's packages in an arrangement unlike Debian's: other directories
// of units and programs, another package database, a kernel with modules of zstd. No
// other distribution has been tried.
//
// Errors are *ImportError, those of [Open] for o.Kernel, *HostError, *BuildError, those
// of ctx, and those of the file system.
func Import(ctx context.Context, name, source string, o ImportOptions) (*Image, error) {
	if err := checkImportName(name); err != nil {
		return nil, err
	}
	if o.Kernel = cmp.Or(o.Kernel, Default); !slices.Contains(Names(), o.Kernel) {
		return nil, &UnknownImageError{Name: o.Kernel}
	}
	if o.MaxBytes = cmp.Or(o.MaxBytes, defaultMaxBytes); o.MaxBytes < 0 {
		return nil, fmt.Errorf("import image %s: %d bytes at most: must be above 0, or 0 for the default", name, o.MaxBytes)
	}
	c, err := openCache(o.Cache)
	if err != nil {
		return nil, err
	}
	i := importer{name: name, source: source, o: o}
	image, err := c.replace(ctx, "import", name, &reporter{image: name, fn: o.Progress}, i.build)
	return image, host.Explain(err, c.dir)
}

// oldestSystemd is the version in the oldest of Names.
const oldestSystemd = 247

// importer makes one image of a source.
type importer struct {
	name, source string
	o            ImportOptions
}

// build fills dir, which is empty and private, with the image.
func (i *importer) build(ctx context.Context, dir string, r *reporter) error {
	if _, err := host.FindTool("sqfstar"); err != nil {
		return err
	}
	work := filepath.Dir(dir)
	r.report(Progress{Stage: Reading})
	t, err := rootfs.Read(ctx, i.source, rootfs.Options{Dir: work, Max: i.o.MaxBytes, Arch: runtime.GOARCH})
	if err != nil {
		return err
	}
	defer t.Close()
	m, err := examine(ctx, t, runtime.GOARCH)
	if err != nil {
		return i.fault(err)
	}
	notes, err := adapt(t)
	if err != nil {
		return i.fault(err)
	}
	kernelNote, err := i.addKernel(ctx, dir, t, &m)
	if err != nil {
		return i.fault(err)
	}
	r.report(Progress{Stage: Packing})
	if err := packTree(ctx, t, filepath.Join(dir, rootFile)); err != nil {
		return i.fault(err)
	}
	m.Format, m.Name, m.Built = formatVersion, i.name, time.Now().UTC().Truncate(time.Second)
	if err := m.describe(ctx, dir); err != nil {
		return err
	}
	notes = append(append([]string{kernelNote}, notes...), lackNotes(m.Lacks)...)
	if m.SystemdMajor < oldestSystemd {
		notes = append(notes, fmt.Sprintf("systemd %d is older than %d, the oldest that this program is tested with", m.SystemdMajor, oldestSystemd))
	}
	for _, note := range notes {
		r.notice(Packing, note)
	}
	return nil
}

// fault adds the source to an *ImportError.
func (i *importer) fault(err error) error {
	var bad *ImportError
	if errors.As(err, &bad) {
		bad.Source = i.source
	}
	return err
}

// packTree writes a tree as the root file system of an image.
func packTree(ctx context.Context, t *rootfs.Tree, path string) error {
	epoch, err := sourceDateEpoch()
	if err != nil {
		return err
	}
	if err := host.CheckSpace(filepath.Dir(path), t.Bytes(), "an import"); err != nil {
		return err
	}
	g, err := newGroup()
	if err != nil {
		return err
	}
	defer g.close()
	defer g.bind(ctx)()
	pack := g.command("sqfstar", sqfstarArgs(path, epoch)...)
	pack.Env = toolEnv(filepath.Dir(path), epoch)
	asRootInNamespace(pack.SysProcAttr)
	err = g.feed(pack, func(in io.Writer) error { return t.WriteTar(ctx, in) })
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // and not what sqfstar printed at its end
	case err != nil:
		return err
	}
	return syncRoot(path)
}

// feed runs pack, whose standard input write fills.
func (g *group) feed(pack *exec.Cmd, write func(io.Writer) error) error {
	end := tail.NewBuffer(tailKept)
	pack.Stdout, pack.Stderr = end, end
	in, err := pack.StdinPipe()
	if err == nil {
		err = pack.Start()
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", pack.Args[0], err)
	}
	writeErr := write(in)
	if writeErr != nil {
		defer g.end()() // closed early, the pipe would make a valid but shorter root
	}
	_ = in.Close() // the command's status shows whether all arrived
	waitErr := pack.Wait()
	if waitErr != nil && (writeErr == nil || errors.Is(writeErr, syscall.EPIPE)) {
		return explain(pack.Args[0], end.String(), waitErr)
	}
	return writeErr
}
