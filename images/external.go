package images

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// isPath tells an image folder of its own from the name of a recipe.
func isPath(name string) bool { return strings.ContainsRune(name, filepath.Separator) }

// openPath gives the image in a folder outside the cache, such as one that Nix has
// built. The folder is verified as one in the cache is, but never changed: what is
// wrong with it is a *HostError.
func (c cache) openPath(path string) (*Image, error) {
	dir, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open image %s: %w", path, err)
	}
	m, err := readManifest(dir)
	if err == nil {
		m, err = verify(dir, c.pathStamp(dir), m.Name)
	}
	if err == nil {
		return &Image{Manifest: m, dir: dir}, nil
	}
	var broken damage
	switch info, statErr := os.Stat(dir); {
	case errors.Is(statErr, fs.ErrNotExist):
		return nil, pathError(path, "there is no such folder", err)
	case statErr == nil && !info.IsDir():
		return nil, pathError(path, "it is not a folder", err)
	case errors.As(err, &broken):
		return nil, pathError(path, broken.Error(), err)
	}
	return nil, fmt.Errorf("open image %s: %w", path, err)
}

// pathStamp is the stamp of an image outside the cache; the folder may be
// read-only.
func (c cache) pathStamp(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(c.dir, "path-"+hex.EncodeToString(sum[:12])+".stamp")
}

func pathError(path, cause string, err error) *HostError {
	return &HostError{
		Cause: fmt.Sprintf("cannot use the image %s: %s", path, cause),
		Cure:  "give the folder of a whole image for this host's processor, with its " + manifestFile + ", or one of the names " + strings.Join(Names(), ", "),
		Err:   err,
	}
}
