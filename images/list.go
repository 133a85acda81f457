package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/host"
)

// List returns the manifests of the images in the cache: those of [Names], oldest suite
// first, and then the others by name. It does not verify their files. Images whose
// manifest is damaged or of another format are not in the list but in the error.
func List(o Options) ([]Manifest, error) {
	c, err := existingCache(o.Cache) // a list makes no directory
	if err != nil || c.dir == "" {
		return nil, err
	}
	names, err := c.names()
	if err != nil {
		return nil, host.Explain(err, c.dir)
	}
	var list []Manifest
	var errs []error
	for _, name := range names {
		m, err := readManifest(c.image(name))
		if err != nil {
			errs = append(errs, fmt.Errorf("image %s: %w", name, host.Explain(err, c.dir)))
			continue
		}
		list = append(list, m)
	}
	return list, errors.Join(errs...)
}

// names returns the names of the images in the cache in the order of List.
func (c cache) names() ([]string, error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var first, rest []string
	for _, name := range Names() {
		if _, err := os.Stat(c.image(name)); err == nil {
			first = append(first, name)
		}
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(first, e.Name()) {
			rest = append(rest, e.Name())
		}
	}
	return append(first, rest...), nil
}

// Remove removes an image from the cache, with everything that builds of it left. It is
// one of [Names] or the name of a manifest in the [List]. It is no error if the cache
// lacks one of Names. Machines that run keep the image's files.
func Remove(ctx context.Context, name string, o Options) error {
	c, err := openCache(o.Cache)
	if err != nil {
		return err
	}
	names, err := c.names()
	if err != nil {
		return host.Explain(err, c.dir)
	}
	if !slices.Contains(append(names, Names()...), name) {
		return &UnknownImageError{Name: name}
	}
	err = c.remove(ctx, name, &reporter{image: name, fn: o.Progress})
	return host.Explain(err, c.dir)
}
