package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
)

// defaultEpoch is the newest time stamp inside an image if SOURCE_DATE_EPOCH is not
// set: 2025-01-01 00:00 UTC. Any constant would do.
const defaultEpoch = 1735689600

// builder builds one image.
type builder struct {
	*plan
	cache        cache
	installed    []Deb         // of the plan's files
	silence      time.Duration // see silenceLimit
	mirror       string        // as an argument of mmdebstrap; empty is its default
	allowExpired bool
}

// build fills dir, which is empty and private, with the image.
func (b *builder) build(ctx context.Context, dir string, r *reporter) error {
	if len(b.debs) > 0 {
		return b.buildOverlay(ctx, dir, r)
	}
	epoch, scratch, err := prepareBuild(ctx, dir)
	if err != nil {
		return err
	}
	r.report(Progress{Stage: Resolving})
	t, err := b.runTools(ctx, dir, scratch, epoch, r)
	if t != nil {
		defer t.modules.close()
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err() // and not what the tools printed at their end
		}
		return err
	}
	return b.finish(ctx, dir, t)
}

// prepareBuild checks the host, and makes a directory beside dir for what the tools need. It
// also returns the newest time stamp inside the image.
func prepareBuild(ctx context.Context, dir string) (epoch int64, scratch string, err error) {
	if epoch, err = sourceDateEpoch(); err != nil {
		return 0, "", err
	}
	if err := host.CheckBuildTools(); err != nil {
		return 0, "", err
	}
	if scratch, err = makeScratch(filepath.Dir(dir)); err != nil {
		return 0, "", err
	}
	return epoch, scratch, host.CheckNamespaces(ctx)
}

// finish writes the modules and the manifest into dir, which has the kernel and the
// root file system.
func (b *builder) finish(ctx context.Context, dir string, t *tree) error {
	if err := syncRoot(filepath.Join(dir, rootFile)); err != nil {
		return err
	}
	names, err := writeModules(filepath.Join(dir, modulesDir), t.kernelVersion,
		func(name string) ([]byte, error) { return t.modules.read(t.kernelVersion, name) })
	if err != nil {
		return err
	}
	m := Manifest{
		Format: formatVersion, Name: b.name, Suite: b.recipe.Suite, Arch: runtime.GOARCH, Inputs: b.inputs,
		Distribution: t.distribution, KernelVersion: t.kernelVersion,
		Modules: names, Packages: t.packages,
		Built: time.Now().UTC().Truncate(time.Second),
	}
	if isAdded(b.name) {
		m.Base, m.NoAutostart, m.Debs = b.recipe.Name, b.spec.NoAutostart, b.installed
		m.Added = sorted(append(slices.Clone(b.spec.Packages), b.spec.depends...))
	}
	if m.SystemdVersion, m.SystemdMajor, err = systemdVersion(t.packages); err != nil {
		return err
	}
	return m.describe(ctx, dir)
}

// runTools runs mmdebstrap and sqfstar, with filterTree between them.
func (b *builder) runTools(ctx context.Context, dir, scratch string, epoch int64, r *reporter) (*tree, error) {
	g, end, err := b.newGroup(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	sources, err := b.writeSources(scratch)
	if err != nil {
		return nil, err
	}
	logins, err := sources.logins()
	if err != nil {
		return nil, err
	}
	defer logins.Close()
	debs := g.command("mmdebstrap", b.mmdebstrapArgs(sources.dir)...)
	debs.Env = append(b.withoutLogins(toolEnv(scratch, epoch)), "VMTEST_SOURCES="+sources.dir)
	debs.ExtraFiles = []*os.File{logins}
	return g.image(debs, dir, scratch, epoch, r)
}

// newGroup returns a group that ends with ctx. The caller calls end.
func (b *builder) newGroup(ctx context.Context) (g *group, end func(), err error) {
	if g, err = newGroup(); err != nil {
		return nil, nil, err
	}
	g.silence = b.silence
	unbind := g.bind(ctx)
	return g, func() {
		unbind()
		g.close()
	}, nil
}

// image runs mmdebstrap, and sqfstar for its output.
func (g *group) image(debs *exec.Cmd, dir, scratch string, epoch int64, r *reporter) (*tree, error) {
	ownMounts(debs.SysProcAttr)
	pack := g.command("sqfstar", sqfstarArgs(filepath.Join(dir, rootFile), epoch)...)
	pack.Env = toolEnv(scratch, epoch)
	asRootInNamespace(pack.SysProcAttr)
	return g.flow(debs, pack, dir, time.Unix(epoch, 0), r)
}

// flow runs debs, which writes a guest's tree, and pack, which reads it, with
// filterTree between them. See filterTree for dir and newest.
func (g *group) flow(debs, pack *exec.Cmd, dir string, newest time.Time, r *reporter) (*tree, error) {
	treeOut, err := debs.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start mmdebstrap: %w", err)
	}
	debsErr, err := debs.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start mmdebstrap: %w", err)
	}
	packEnd := tail.NewBuffer(tailKept)
	pack.Stdout, pack.Stderr = packEnd, packEnd
	packIn, err := pack.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start sqfstar: %w", err)
	}
	if err := pack.Start(); err != nil {
		return nil, fmt.Errorf("start sqfstar: %w", err)
	}
	if err := debs.Start(); err != nil {
		_ = packIn.Close()
		_ = pack.Wait() // it fails, as it got nothing
		if errors.Is(err, syscall.EPERM) && os.Geteuid() == 0 {
			return nil, &HostError{Cause: "root may not mount here: " + err.Error(),
				Cure: "give the container CAP_SYS_ADMIN, or build as an ordinary user", Check: host.Namespaces, Err: err}
		}
		return nil, fmt.Errorf("start mmdebstrap: %w", err)
	}

	debsEnd := tail.NewBuffer(tailKept)
	quiet := newSilence(g)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watchOutput(debsErr, debsEnd, &reporter{fn: func(p Progress) {
			quiet.heard(p)
			r.report(p)
		}})
	}()
	t, treeErr := filterTree(treeOut, packIn, dir, newest)
	// Closed early, the pipe would make a valid but shorter root.
	switch {
	case isShort(treeErr): // mmdebstrap ends by itself, and its status can be the cause
		_ = pack.Process.Signal(syscall.SIGTERM)
		defer g.endLater()()
	case treeErr != nil:
		defer g.end()()
	}
	_ = packIn.Close() // sqfstar's own status shows whether all arrived
	_, _ = io.Copy(io.Discard, treeOut)
	<-watched
	debsWait, packWait := debs.Wait(), pack.Wait()
	if err := quiet.stop(debsEnd.String()); err != nil {
		return t, err
	}
	return t, verdict(treeErr, debsWait, packWait, debsEnd.String(), packEnd.String())
}

// verdict returns the first cause. Each of mmdebstrap, the filter and sqfstar fails
// when another one does.
func verdict(treeErr, debsErr, packErr error, debsEnd, packEnd string) error {
	switch {
	case packErr != nil && errors.Is(treeErr, syscall.EPIPE):
		return explain("sqfstar", packEnd, packErr)
	// sqfstar stops at the end of an empty archive before all of it is written.
	case debsErr != nil && (treeErr == nil || isShort(treeErr) || errors.Is(treeErr, syscall.EPIPE)):
		return explain("mmdebstrap", debsEnd, debsErr)
	case treeErr != nil:
		return treeErr
	case packErr != nil:
		return explain("sqfstar", packEnd, packErr)
	}
	return nil
}

// isShort reports whether a guest's tree ended too early.
func isShort(err error) bool {
	var torn *treeError
	return errors.As(err, &torn) && torn.short
}

// sqfstarArgs returns the arguments for a squashfs without compression. Guests share
// its pages, and decompression is slow under emulation.
func sqfstarArgs(root string, epoch int64) []string {
	return []string{
		"-reproducible", "-exit-on-error", "-quiet", "-no-progress",
		"-noI", "-noD", "-noF", "-noX",
		"-root-mode", "0755", "-root-time", strconv.FormatInt(epoch, 10),
		root,
	}
}

// syncRoot does for sqfstar's output what writeSynced does for other files.
func syncRoot(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("store root file system: %w", err)
	}
	defer f.Close()
	if err := errors.Join(f.Chmod(0o600), f.Sync()); err != nil {
		return fmt.Errorf("store root file system: %w", err)
	}
	return nil
}

// ownMounts gives root's mmdebstrap a mount namespace, as an ordinary user's has
// one anyway. It binds the host's /dev into the guest's tree. When it is killed, that
// mount has to end too, or the tree cannot be removed.
func ownMounts(attr *syscall.SysProcAttr) {
	if os.Geteuid() == 0 {
		attr.Unshareflags |= syscall.CLONE_NEWNS
	}
}

// asRootInNamespace makes an ordinary user's command run as root of a user namespace.
// sqfstar 4.5.1 makes its own user the owner of the guest's root directory, whatever
// the archive and its option -root-uid say.
func asRootInNamespace(attr *syscall.SysProcAttr) {
	if os.Geteuid() == 0 {
		return
	}
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
}

func sourceDateEpoch() (int64, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return defaultEpoch, nil
	}
	n, err := strconv.ParseUint(s, 10, 32) // squashfs holds 32 bits
	if err != nil {
		return 0, fmt.Errorf("read SOURCE_DATE_EPOCH: %w", err)
	}
	return int64(n), nil
}
