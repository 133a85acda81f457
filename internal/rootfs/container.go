package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Files of a container image. The OCI layout is of the OCI image specification; the other
// is what docker save writes, since version 25 beside an OCI layout.
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
	dockerFile = "manifest.json"
)

// maxJSON is the most bytes of a manifest or configuration, as in registries.
const maxJSON = 4 << 20

// Bounds of the indexes of an OCI layout.
const (
	maxIndexes     = 4    // on the way to an image
	maxDescriptors = 1000 // entries of all indexes
	maxOthers      = 20   // architectures that an error names
)

// store is where the files of a container image are: a directory, or an archive that was
// read as a tree.
type store interface {
	Has(name string) bool
	open(name string) (io.ReadCloser, int64, error)
}

type dirStore struct{ *os.Root }

func (s dirStore) Has(name string) bool {
	_, err := s.Stat(name)
	return err == nil
}

func (s dirStore) open(name string) (io.ReadCloser, int64, error) {
	info, err := s.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("open %s: not a regular file", name)
	}
	f, err := s.Open(name)
	return f, info.Size(), err
}

func (t *Tree) open(name string) (io.ReadCloser, int64, error) {
	n, _, err := t.Lookup(name)
	if err != nil {
		return nil, 0, err
	}
	if n.Type != tar.TypeReg {
		return nil, 0, fmt.Errorf("open %s: not a regular file", name)
	}
	return io.NopCloser(t.Content(n)), n.Size, nil
}

func isContainer(s store) bool {
	return !s.Has("usr") && !s.Has("etc") && (s.Has(layoutFile) && s.Has(indexFile) || s.Has(dockerFile))
}

// container is an image in a store: the files of its layers, lowest first, and the sums
// of their uncompressed content.
type container struct {
	kind   string
	layers []string
	sums   []v1.Hash
}

// readContainer returns the root file system of a container image.
func readContainer(ctx context.Context, s store, o Options) (*Tree, error) {
	find := findDocker
	if s.Has(layoutFile) {
		find = findOCI
	}
	c, err := find(ctx, s, o.Arch)
	if err != nil {
		return nil, err
	}
	if len(c.layers) != len(c.sums) {
		return nil, &Error{Cause: fmt.Sprintf("the image has %d layers, and its configuration lists %d", len(c.layers), len(c.sums))}
	}
	t, err := New(o.Dir, o.Max)
	if err != nil {
		return nil, err
	}
	t.Kind = c.kind
	for i, name := range c.layers {
		if err := t.addLayer(ctx, s, name, c.sums[i]); err != nil {
			t.Close()
			return nil, err
		}
	}
	return t, nil
}

func (t *Tree) addLayer(ctx context.Context, s store, name string, want v1.Hash) error {
	in, _, err := s.open(name)
	if err != nil {
		return &Error{Cause: "it lacks a layer: " + err.Error(), Cure: "export the image with all of its layers", Err: err}
	}
	defer in.Close()
	sum := sha256.New()
	if err := t.addCompressed(ctx, in, true, sum); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want.Hex {
		return &Error{Cause: fmt.Sprintf("the layer %s is damaged: its sum is %s instead of %s", name, got, want.Hex), Cure: "copy or export it again"}
	}
	return nil
}

// findOCI finds the image of an architecture in an OCI layout.
func findOCI(ctx context.Context, s store, arch string) (container, error) {
	b, err := readJSON(s, indexFile)
	if err != nil {
		return container{}, err
	}
	in := &search{store: s, arch: arch}
	if err := in.index(ctx, b, maxIndexes); err != nil {
		return container{}, err
	}
	found := in.found
	slices.SortFunc(found, func(a, b v1.Descriptor) int { return strings.Compare(a.Digest.Hex, b.Digest.Hex) })
	found = slices.CompactFunc(found, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest })
	switch {
	case len(found) == 0:
		return container{}, wrongArch(strings.Join(in.others, ", "), arch)
	case len(found) > 1:
		return container{}, several(len(found))
	}
	b, err = readBlob(s, found[0].Digest)
	if err != nil {
		return container{}, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(b))
	if err != nil {
		return container{}, badJSON("manifest", err)
	}
	if b, err = readBlob(s, m.Config.Digest); err != nil {
		return container{}, err
	}
	c := container{kind: "OCI layout"}
	for _, layer := range m.Layers {
		c.layers = append(c.layers, blob(layer.Digest))
	}
	c.sums, err = layerSums(b, arch)
	return c, err
}

// search looks for the images of an architecture in indexes.
type search struct {
	store  store
	arch   string
	seen   int // entries of indexes, each as often as it was met
	found  []v1.Descriptor
	others []string // the architectures of the rest
}

// index looks in an index, and in the indexes in it, which can be depth deep.
func (s *search) index(ctx context.Context, b []byte, depth int) error {
	m, err := v1.ParseIndexManifest(bytes.NewReader(b))
	if err != nil {
		return badJSON(indexFile, err)
	}
	for _, d := range m.Manifests {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if s.seen++; s.seen > maxDescriptors {
			return &Error{Cause: fmt.Sprintf("its indexes have more than %d entries", maxDescriptors), Cure: "export a single image"}
		}
		switch {
		case d.MediaType.IsIndex() && depth > 0:
			b, err := readBlob(s.store, d.Digest)
			if err != nil {
				return err
			}
			if err := s.index(ctx, b, depth-1); err != nil {
				return err
			}
		case !d.MediaType.IsImage():
		case d.Platform == nil || d.Platform.OS == "linux" && d.Platform.Architecture == s.arch:
			s.found = append(s.found, d)
		case !slices.Contains(s.others, d.Platform.Architecture) && len(s.others) < maxOthers:
			s.others = append(s.others, d.Platform.Architecture)
		}
	}
	return nil
}

// findDocker finds the image in an archive of docker save.
func findDocker(_ context.Context, s store, arch string) (container, error) {
	b, err := readJSON(s, dockerFile)
	if err != nil {
		return container{}, err
	}
	var list []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return container{}, badJSON(dockerFile, err)
	}
	if len(list) != 1 {
		return container{}, several(len(list))
	}
	if b, err = readJSON(s, list[0].Config); err != nil {
		return container{}, err
	}
	c := container{kind: "docker archive", layers: list[0].Layers}
	c.sums, err = layerSums(b, arch)
	return c, err
}

// layerSums returns the sums of the layers in an image's configuration.
func layerSums(config []byte, arch string) ([]v1.Hash, error) {
	c, err := v1.ParseConfigFile(bytes.NewReader(config))
	if err != nil {
		return nil, badJSON("configuration", err)
	}
	if c.Architecture != arch || c.OS != "linux" {
		return nil, wrongArch(c.OS+" "+c.Architecture, arch)
	}
	return c.RootFS.DiffIDs, nil
}

func readJSON(s store, name string) ([]byte, error) {
	in, size, err := s.open(name)
	if err != nil {
		return nil, &Error{Cause: "the image is not whole: " + err.Error(), Cure: "export it again", Err: err}
	}
	defer in.Close()
	if size > maxJSON {
		return nil, &Error{Cause: fmt.Sprintf("%s has %d bytes, more than any manifest", name, size)}
	}
	b, err := io.ReadAll(io.LimitReader(in, maxJSON))
	return b, asError(err)
}

func blob(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// readBlob returns a manifest or configuration, which must have its sum.
func readBlob(s store, h v1.Hash) ([]byte, error) {
	b, err := readJSON(s, blob(h))
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != h.Hex {
		return nil, &Error{Cause: fmt.Sprintf("%s is damaged: its content has another sum", blob(h)), Cure: "copy or export it again"}
	}
	return b, nil
}

func badJSON(what string, err error) error {
	return &Error{Cause: fmt.Sprintf("the %s of the image cannot be read: %s", what, err), Cure: "export it again", Err: err}
}

func wrongArch(got, want string) error {
	if got == "" {
		got = "no architecture"
	}
	return &Error{Cause: fmt.Sprintf("the image is for %s, and guests of this host need linux %s", got, want),
		Cure: "give the image for " + want}
}

func several(n int) error {
	return &Error{Cause: fmt.Sprintf("it holds %d images instead of one", n), Cure: "export a single image"}
}
