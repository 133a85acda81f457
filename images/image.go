package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"example.org/systemd-vmtest/internal/host"
)

// Options sets where images are kept and what gets reports of the work. The zero
// value uses the user's cache and reports nothing.
type Options struct {
	// Cache is the root of the cache. If it is empty, the root is $VMTEST_CACHE, or
	// systemd-vmtest in the user's cache directory.
	Cache string
	// Mirror is a package mirror in a form that mmdebstrap takes: a URI, or a
	// whole line of sources.list(5). If it is empty, the mirror is $VMTEST_MIRROR,
	// or mmdebstrap's own default.
	Mirror string
	// Progress, if not nil, is called for each step, one call at a time. It must not
	// block.
	Progress func(Progress)
}

// Image is a verified image. One in the cache stays usable until it is removed or
// built again. Files that are open stay whole after that.
type Image struct {
	Manifest
	dir   string
	files map[string]host.Identity // as they were verified
}

// Dir returns the path of the image's directory.
func (i *Image) Dir() string { return i.dir }

// Kernel returns the path of the kernel, in the form that QEMU's -kernel takes.
func (i *Image) Kernel() string { return filepath.Join(i.dir, kernelFile) }

// Root returns the path of the root file system, an uncompressed squashfs.
func (i *Image) Root() string { return filepath.Join(i.dir, rootFile) }

// ModulesDir returns the path of the directory that an initrd takes whole. It holds
// lib/modules/KERNELVERSION with uncompressed modules, modules.dep and
// modules.builtin, so the modules in Manifest.Modules can be loaded by name.
func (i *Image) ModulesDir() string { return filepath.Join(i.dir, modulesDir) }

// ErrReplaced reports that an image's files are no longer those that were verified.
var ErrReplaced = errors.New("image was replaced or altered")

// Check returns ErrReplaced unless the image's paths still name the files that were
// verified. A caller that opens files by path calls it afterwards, because another
// process may replace the image in between. Then the caller opens the image again.
func (i *Image) Check() error {
	for path, verified := range i.files {
		f, now, err := openRegular(filepath.Join(i.dir, filepath.FromSlash(path)))
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular):
			return ErrReplaced
		case err != nil:
			return fmt.Errorf("check image %s: %w", i.Name, err)
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("check image %s: %w", i.Name, err)
		}
		if now != verified {
			return ErrReplaced
		}
	}
	return nil
}

// Open returns the image that s describes from the cache. It compares the image's
// files with its manifest; a file that was hashed before is hashed again only if
// stat(2) shows a change. Open builds an image that is absent or damaged or was built
// from another description, and reports why in a notice. It waits for other processes
// that work on the same image.
//
// The path of a directory as s.Base is an image outside the cache, such as one that
// Nix has built (see [Seal]). Open verifies it too, but never builds or changes it:
// damage is a *HostError. That holds for an image that was imported, too.
//
// An image with additions goes when it was not used for a month, or when all of
// these take more than 4 GiB, the longest unused first.
//
// Errors are *SpecError, *UnknownImageError, *HostError, *BuildError, those of ctx, and those of
// the file system.
func Open(ctx context.Context, s Spec, o Options) (*Image, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	r := &reporter{image: s.label(), fn: o.Progress}
	if s.imported() {
		return openImported(ctx, s.Base, o, r)
	}
	c, err := openCache(o.Cache)
	if err != nil {
		return nil, err
	}
	if IsPath(s.Base) {
		image, err := c.openPath(ctx, s.Base, r)
		return image, host.Explain(err, c.dir)
	}
	b, err := newBuilder(s, o, c)
	if err != nil {
		return nil, err
	}
	image, err := c.open(ctx, b.name, b.inputs, r, b.build)
	return image, host.Explain(err, c.dir)
}

// Build builds the image that s describes and replaces the one in the cache, if any. A
// build that fails or whose ctx ends changes nothing. Its errors are those of [Open].
func Build(ctx context.Context, s Spec, o Options) (*Image, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	if s.imported() {
		return nil, Buildable(s.Base, o)
	}
	c, err := openCache(o.Cache)
	if err != nil {
		return nil, err
	}
	b, err := newBuilder(s, o, c)
	if err != nil {
		return nil, err
	}
	image, err := c.replace(ctx, "build", b.name, &reporter{image: s.label(), fn: o.Progress}, b.build)
	return image, host.Explain(err, c.dir)
}

func newBuilder(s Spec, o Options, c cache) (*builder, error) {
	p, err := newPlan(s)
	if err != nil {
		return nil, err
	}
	return &builder{
		plan:         p,
		cache:        c,
		silence:      silenceLimit,
		mirror:       cmp.Or(o.Mirror, os.Getenv("VMTEST_MIRROR")),
		allowExpired: os.Getenv("VMTEST_ALLOW_EXPIRED_RELEASE") == "1",
	}, nil
}
