package images

import (
	"fmt"
	"strings"
)

// Default is the image for tests that name none.
const Default = "debian-13"

// recipe is what differs from image to image.
type recipe struct {
	name  string
	suite string
	// mainOnly leaves out the updates and security archives. Those of a suite that
	// is out of support can list files that no mirror has. Those of a suite that is
	// not released are empty and out of date.
	mainOnly bool
	// mergeUsr makes /bin, /sbin and /lib links into /usr before the first package
	// is unpacked, as Debian's installer does. From bookworm on packages do it.
	mergeUsr bool
}

func recipes() []recipe {
	return []recipe{
		{name: "debian-11", suite: "bullseye", mainOnly: true, mergeUsr: true},
		{name: "debian-12", suite: "bookworm"},
		{name: "debian-13", suite: "trixie"},
		{name: "debian-14", suite: "forky", mainOnly: true},
	}
}

// Names returns the names of the images that can be built, oldest first.
func Names() []string {
	var names []string
	for _, r := range recipes() {
		names = append(names, r.name)
	}
	return names
}

// UnknownImageError reports a name that is not one of [Names].
type UnknownImageError struct {
	Name string
}

func (e *UnknownImageError) Error() string {
	return fmt.Sprintf("unknown image %q: want one of %s", e.Name, strings.Join(Names(), ", "))
}

func findRecipe(name string) (recipe, error) {
	for _, r := range recipes() {
		if r.name == name {
			return r, nil
		}
	}
	return recipe{}, &UnknownImageError{Name: name}
}
