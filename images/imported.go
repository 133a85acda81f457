package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/host"
)

// importNames matches the names of imported images.
var importNames = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// checkImportName returns an error for a name that an imported image cannot have. Some
// would be those of other files in the cache.
func checkImportName(name string) error {
	switch {
	case slices.Contains(Names(), name):
		return fmt.Errorf("import image: the name %s is that of an image made of packages: choose another", name)
	case !importNames.MatchString(name), isExternal(name),
		strings.HasSuffix(name, lockSuffix), strings.HasSuffix(name, stampSuffix), strings.HasSuffix(name, newSuffix):
		return fmt.Errorf("import image: %q cannot be a name: want letters, digits, dots, dashes and underscores, at most 64, "+
			"beginning with a letter or digit, not with %s, and not ending in %s, %s or %s",
			name, externalPrefix, lockSuffix, stampSuffix, newSuffix)
	}
	return nil
}

// Known returns nil if a name is one of [Names] or that of an image in the cache that was
// imported, and else an *UnknownImageError, or why the cache cannot be read. It does not
// verify the image.
func Known(name string, o Options) error {
	if slices.Contains(Names(), name) {
		return nil
	}
	c, err := existingCache(o.Cache)
	if err != nil {
		return err
	}
	if checkImportName(name) == nil && c.dir != "" {
		if _, err := os.Stat(c.image(name)); err == nil {
			return nil
		}
	}
	return &UnknownImageError{Name: name}
}

// NamesIn returns the names in a list like that of $VMTEST_IMAGE, with commas between them. Each
// is [Known], or a path, and occurs once. "" is no name.
func NamesIn(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	names := strings.Split(list, ",")
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("%q is listed twice", name)
		}
		if IsPath(name) {
			continue
		}
		if err := Known(name, Options{}); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// Buildable is [Known] for an image that is to be built: a *SpecError for one that was
// imported.
func Buildable(name string, o Options) error {
	if err := Known(name, o); err != nil || slices.Contains(Names(), name) {
		return err
	}
	return specErrorf("build image %s: it was imported: import it again", name)
}

// imported reports whether the base is the name of an image that was imported, if any.
func (s Spec) imported() bool { return s.Recipe == nil && checkImportName(s.Base) == nil }

// openImported returns an image that was imported. It cannot be built again: damage is a
// *HostError.
func openImported(ctx context.Context, name string, o Options, r *reporter) (*Image, error) {
	c, err := existingCache(o.Cache)
	if err != nil || c.dir == "" {
		return nil, cmp.Or[error](err, &UnknownImageError{Name: name})
	}
	image, err := c.openImported(ctx, name, r)
	return image, host.Explain(err, c.dir)
}

func (c cache) openImported(ctx context.Context, name string, r *reporter) (*Image, error) {
	l, err := c.lock(ctx, name, r)
	if err != nil {
		return nil, fmt.Errorf("open image %s: %w", name, err)
	}
	defer c.release(name, l, r)
	r.report(Progress{Stage: Checking})
	image, err := verify(ctx, c.image(name), c.stamp(name), name)
	var broken damage
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &UnknownImageError{Name: name}
	case errors.As(err, &broken):
		return nil, &HostError{Cause: fmt.Sprintf("cannot use the image %s: %s", name, broken), Cure: "import it again", Err: err}
	case err != nil:
		return nil, fmt.Errorf("open image %s: %w", name, err)
	}
	return image, nil
}

// existingCache is openCache for a caller that must not make the cache. Its directory is
// empty if there is none.
func existingCache(root string) (cache, error) {
	root, err := cacheRoot(root)
	if err != nil {
		return cache{}, err
	}
	if _, err := os.Stat(filepath.Join(root, imagesDir)); errors.Is(err, fs.ErrNotExist) {
		return cache{}, nil
	}
	return openCache(root)
}
