package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// buildOverlay fills dir with the image of a spec with package files. It installs them
// with dpkg on a copy of an image that has everything else, which the cache keeps. So a
// new build of a package file costs seconds, and no network.
func (b *builder) buildOverlay(ctx context.Context, dir string, r *reporter) error {
	epoch, scratch, err := prepareBuild(ctx, dir)
	if err != nil {
		return err
	}
	debs := filepath.Join(scratch, "debs")
	controls, err := b.takeDebs(ctx, debs)
	if err != nil {
		return err
	}
	lower, err := b.openLower(ctx, controls, r)
	if err != nil {
		return err
	}
	root, kernel, err := lower.readable(scratch)
	if err != nil {
		return err
	}
	t, err := b.runOverlay(ctx, dir, scratch, epoch, r, "VMTEST_DEBS="+debs, "VMTEST_ROOT="+root,
		"VMTEST_KERNEL="+kernel, "VMTEST_KERNEL_VERSION="+lower.KernelVersion)
	if t != nil {
		defer t.modules.close()
	}
	switch replaced := lower.Check(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case replaced != nil: // while its files were read
		return fmt.Errorf("read image %s: %w", lower.Title(), replaced)
	case err != nil:
		return err
	}
	return b.finish(ctx, dir, t)
}

// takeDebs copies the package files to dir, and returns their fields.
func (b *builder) takeDebs(ctx context.Context, dir string) ([]control, error) {
	if err := os.Mkdir(dir, 0o711); err != nil {
		return nil, fmt.Errorf("copy package file: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the hook lists it
		return nil, fmt.Errorf("copy package file: %w", err)
	}
	var list []control
	for i, d := range b.debs {
		path := filepath.Join(dir, fmt.Sprintf("%d.deb", i))
		if err := d.copyTo(path); err != nil {
			return nil, err
		}
		c, err := readControl(ctx, path, d.path)
		if err != nil {
			return nil, err
		}
		b.installed = append(b.installed, Deb{Name: c.name, Version: c.version, SHA256: d.sha256})
		list = append(list, c)
	}
	return list, nil
}

// openLower returns the image that the package files are installed on: that of the spec
// without them if it has all that they depend on, and otherwise one with that too.
func (b *builder) openLower(ctx context.Context, controls []control, r *reporter) (*Image, error) {
	s := b.spec
	s.Debs = nil
	image, err := b.openOther(ctx, s, r)
	if err != nil {
		return nil, err
	}
	if s.depends = missing(ctx, controls, image.Packages); s.depends == nil {
		return image, nil
	}
	if image, err = b.openOther(ctx, s, r); err != nil {
		var names []string
		for _, c := range controls {
			names = append(names, c.name)
		}
		return nil, fmt.Errorf("add what %s depends on: %w", strings.Join(names, ", "), err)
	}
	return image, nil
}

func (b *builder) openOther(ctx context.Context, s Spec, r *reporter) (*Image, error) {
	p, err := newPlan(s)
	if err != nil {
		return nil, err
	}
	other := *b
	other.plan, other.installed = p, nil
	return b.cache.open(ctx, p.name, p.inputs, &reporter{image: s.label(), fn: r.fn}, other.build)
}

// readable returns paths of the root file system and the kernel that the builder of a
// tree can read. An ordinary user's runs as a subordinate user, who cannot enter the
// cache and gets copies.
func (i *Image) readable(scratch string) (root, kernel string, err error) {
	if os.Geteuid() == 0 {
		return i.Root(), i.Kernel(), nil
	}
	root, kernel = filepath.Join(scratch, rootFile), filepath.Join(scratch, kernelFile)
	return root, kernel, errors.Join(copyReadable(i.Root(), root), copyReadable(i.Kernel(), kernel))
}

// overlayHook unpacks the image. The kernel is put where filterTree takes it from.
const overlayHook = `--setup-hook=set -eu
unsquashfs -q -n -f -d "$1" "$VMTEST_ROOT"
install -m 644 "$VMTEST_KERNEL" "$1/boot/vmlinuz-$VMTEST_KERNEL_VERSION"`

// installDebs installs the package files in the guest's tree. Its /tmp is emptied at the
// end.
const installDebs = `mkdir "$1/tmp/debs"
cp "$VMTEST_DEBS"/*.deb "$1/tmp/debs"
chroot "$1" sh -c 'exec dpkg --install /tmp/debs/*.deb </dev/null'`

// overlayArgs returns the arguments for mmdebstrap.
func (b *builder) overlayArgs() []string {
	install := "set -eu\n" + installDebs
	if b.spec.NoAutostart {
		install = withoutNewUnits(installDebs)
	}
	return []string{
		mode, "--variant=custom", "--format=tar", "--verbose", "--skip=update,cleanup/apt",
		overlayHook, "--customize-hook=" + install, "", "-",
	}
}

// runOverlay runs mmdebstrap and sqfstar as runTools does.
func (b *builder) runOverlay(ctx context.Context, dir, scratch string, epoch int64, r *reporter, env ...string) (*tree, error) {
	g, end, err := b.newGroup(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	debs := g.command("mmdebstrap", b.overlayArgs()...)
	debs.Env = append(b.withoutLogins(toolEnv(scratch, epoch)), env...)
	return g.image(debs, dir, scratch, epoch, r)
}
