package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// IsPath reports whether a name is the path of an image's directory: it has a slash.
func IsPath(name string) bool { return strings.ContainsRune(name, filepath.Separator) }

// openPath returns the image in a directory outside the cache, such as one that Nix
// has built. It verifies the directory like one in the cache, but never changes it.
// Damage is a *HostError.
func (c cache) openPath(ctx context.Context, path string, r *reporter) (*Image, error) {
	image, err := c.verifyPath(ctx, path, r)
	if err == nil {
		return image, nil
	}
	var broken damage
	switch info, statErr := os.Stat(path); {
	case errors.Is(statErr, fs.ErrNotExist):
		return nil, pathError(path, "there is no such directory", err)
	case statErr == nil && !info.IsDir():
		return nil, pathError(path, "it is not a directory", err)
	case errors.As(err, &broken):
		return nil, pathError(path, broken.Error(), err)
	}
	return nil, fmt.Errorf("open image %s: %w", path, err)
}

func (c cache) verifyPath(ctx context.Context, path string, r *reporter) (*Image, error) {
	dir, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // Nix gives a link
		return nil, err
	}
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	name := externalName(dir)
	l, err := c.lock(ctx, name, r)
	if err != nil {
		return nil, err
	}
	defer c.release(name, l, r)
	return verify(ctx, dir, c.stamp(name), m.Name)
}

// externalName is the name under which the cache has the stamp of an image outside:
// its directory may be read-only.
func externalName(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return externalPrefix + hex.EncodeToString(sum[:12])
}

const externalPrefix = "path-"

func isExternal(name string) bool { return strings.HasPrefix(name, externalPrefix) }

func pathError(path, cause string, err error) *HostError {
	return &HostError{
		Cause: fmt.Sprintf("cannot use the image %s: %s", path, cause),
		Cure: "give the directory of a whole image for this host's processor, with its " + manifestFile +
			", or one of the names " + strings.Join(Names(), ", "),
		Err: err,
	}
}
