package images

import (
	"fmt"
	"strings"
)

// Default is the image for tests that name none.
const Default = "debian-13"

// recipes returns the recipes of this package.
func recipes() []Recipe {
	return []Recipe{
		{Name: "debian-11", Suite: "bullseye", mainOnly: true, MergeUsr: true},
		{Name: "debian-12", Suite: "bookworm"},
		{Name: "debian-13", Suite: "trixie"},
		{Name: "debian-14", Suite: "forky", mainOnly: true},
	}
}

// Names returns the names of the images that can be built, oldest first.
func Names() []string {
	var names []string
	for _, r := range recipes() {
		names = append(names, r.Name)
	}
	return names
}

// UnknownImageError reports a name that is not one of [Names], nor that of an image in
// the cache that was imported.
type UnknownImageError struct {
	Name string
}

func (e *UnknownImageError) Error() string {
	return fmt.Sprintf("unknown image %q: want one of %s, or one that was imported", e.Name, strings.Join(Names(), ", "))
}

func findRecipe(name string) (Recipe, error) {
	for _, r := range recipes() {
		if r.Name == name {
			return r, nil
		}
	}
	return Recipe{}, &UnknownImageError{Name: name}
}
