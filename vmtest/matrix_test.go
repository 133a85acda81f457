package vmtest

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
)

// Each subtest of EachImage has its image, and so have the subtests in it, but no other
// test.
func TestEachImage(t *testing.T) {
	t.Setenv("VMTEST_IMAGE", "debian-12,./built,debian-11")
	t.Setenv("VMTEST_SKIP", "1") // takes no slot
	var ran []string
	EachImage(t, func(t *testing.T) {
		ran = append(ran, t.Name()+" "+Config{}.forTest(t).Image)
		t.Run("inner", func(t *testing.T) {
			ran = append(ran, t.Name()+" "+Config{}.forTest(t).Image)
		})
		assert.Equal(t, "mine", Config{Image: "mine"}.forTest(t).Image, "an image of the Config's own")
		assert.Empty(t, Config{Recipe: &images.Recipe{}}.forTest(t).Image, "a recipe of the Config's own")
	})
	assert.Equal(t, []string{
		"TestEachImage/debian-12 debian-12", "TestEachImage/debian-12/inner debian-12",
		"TestEachImage/./built ./built", "TestEachImage/./built/inner ./built",
		"TestEachImage/debian-11 debian-11", "TestEachImage/debian-11/inner debian-11",
	}, ran)
	assert.Empty(t, Config{}.forTest(t).Image, "outside of EachImage")
	t.Run("debian-12", func(t *testing.T) { // as a subtest from before, which is over
		assert.Empty(t, Config{}.forTest(t).Image)
	})
	c, err := Config{}.complete()
	require.NoError(t, err)
	assert.Equal(t, "debian-12", c.Image, "outside of EachImage the first one counts")
}

// go test -json has the image of each subtest, but no path of this host. A test that runs on
// one of several images says so.
func TestEachImageSaysItsImage(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEachImage$", "-test.v=test2json")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, []string{"TestEachImage/debian-12 vmtest.image debian-12", "TestEachImage/debian-11 vmtest.image debian-11"},
		submatches(regexp.MustCompile(`=== ATTR  (.*)`), string(out)))
	assert.Contains(t, string(out), "using debian-12 of VMTEST_IMAGE=debian-12,./built,debian-11: the test does not call EachImage")
	assert.Equal(t, 2, strings.Count(string(out), "does not call EachImage"), "once in each test outside of EachImage")
}

// submatches returns the first parentheses of each match.
func submatches(r *regexp.Regexp, text string) (all []string) {
	for _, m := range r.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

func TestImagesOfRun(t *testing.T) {
	t.Setenv("VMTEST_IMAGE", "")
	names, err := imagesOfRun()
	assert.NoError(t, err)
	assert.Equal(t, []string{images.Default}, names)

	for list, want := range map[string]string{
		"debian-12,":                    `read VMTEST_IMAGE: unknown image ""`,
		"debian-12, debian-13":          `read VMTEST_IMAGE: unknown image " debian-13"`,
		"debian-12,debian-13,debian-12": `read VMTEST_IMAGE: "debian-12" is listed twice`,
	} {
		t.Setenv("VMTEST_IMAGE", list)
		_, err := imagesOfRun()
		assert.ErrorContains(t, err, want)
	}
}
