package images

import (
	"fmt"
	"strings"
)

// Default is the image of a test that names none.
const Default = "debian-13"

// recipe is what differs from image to image.
type recipe struct {
	name  string
	suite string
	// mainOnly leaves out the updates and security archives. For a suite past
	// its support they can list files that no mirror has any more; for one that
	// is not released yet they are empty, and nobody refreshes them.
	mainOnly bool
	// mergeUsr makes /bin and friends links into /usr before the first package
	// is unpacked. Debian's installer does this for every suite here; from
	// bookworm on the packages do it themselves.
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

// Names lists the images that can be built, oldest first.
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
	return fmt.Sprintf("unknown image %q: the known ones are %s", e.Name, strings.Join(Names(), ", "))
}

func findRecipe(name string) (recipe, error) {
	for _, r := range recipes() {
		if r.name == name {
			return r, nil
		}
	}
	return recipe{}, &UnknownImageError{Name: name}
}
