package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/images"
)

func newImage(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "List, build, import and remove guest images",
		Long: `Images are built from Debian's packages on first use and kept in the cache,
$VMTEST_CACHE or systemd-vmtest in the user's cache directory. Those of other
distributions are imported.`,
		Example: `  vmtest image list
  vmtest image build debian-12
  vmtest image import fedora ./fedora-systemd.tar.zst`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newImageBuild(s), newImageImport(s), newImageList(s), newImageRemove(s))
	return cmd
}

func newImageBuild(s streams) *cobra.Command {
	var all bool
	var added images.Spec
	cmd := &cobra.Command{
		Use:   "build NAME...",
		Short: "Build images again",
		Long: `Build builds images from the newest packages, even if the cache has them. Only the image
that a --deb is installed on comes from the cache, if that has it. An image with more
packages than its base, by --package or --deb, is one of its own in the cache.

A NAME with a slash is the file of a recipe, such as {"name": "sid", "suite": "sid"}:
go doc example.org/systemd-vmtest/images.Recipe has all its fields.`,
		Example: `  vmtest image build debian-12
  vmtest image build --package openssh-server --package rpcbind debian-13
  vmtest image build ./sid.json
  vmtest image build --all`,
		Args: func(_ *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return errors.New("name the images to build, or give --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, names []string) error {
			if all {
				names = images.Names()
			}
			for _, name := range names { // all are looked at before the first is built
				if images.IsPath(name) {
					continue
				}
				if err := images.Buildable(name, images.Options{}); err != nil {
					return err
				}
			}
			for _, name := range names {
				added.Base = name
				if err := buildImage(cmd.Context(), s, added); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "build all images")
	addPackageFlags(cmd, &added)
	return cmd
}

func buildImage(ctx context.Context, s streams, spec images.Spec) error {
	p := beginProgress(s.err, "building "+spec.Base)
	image, err := images.Build(ctx, spec, images.Options{Progress: p.report})
	p.stop()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "built %s, %s\n", describe(image.Manifest), megabytes(image.Manifest))
	return err
}

func newImageList(s streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all images, which of them the cache has, and what they were made of",
		Long: `List lists the images that can be built, and those of the cache. The JSON document is
an array of {"name", "cached", "manifest"}; go doc example.org/systemd-vmtest/images.Manifest
has the fields of a manifest.`,
		Example: `  vmtest image list
  vmtest image list --json | jq -r '.[] | select(.cached) | .name'`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cached, err := images.List(images.Options{})
			list := listImages(cached)
			if asJSON {
				return errors.Join(writeJSON(s.out, list), err)
			}
			return errors.Join(printImages(s.out, list), err)
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// listedImage is an image that can be built, or that the cache has.
type listedImage struct {
	Name     string           `json:"name"`
	Cached   bool             `json:"cached"`
	Manifest *images.Manifest `json:"manifest,omitempty"` // if it is cached
}

// listImages returns all images, given those in the cache.
func listImages(cached []images.Manifest) []listedImage {
	var list []listedImage
	for _, name := range images.Names() {
		if !slices.ContainsFunc(cached, func(m images.Manifest) bool { return m.Name == name }) {
			list = append(list, listedImage{Name: name})
		}
	}
	for i, m := range cached {
		list = append(list, listedImage{m.Name, true, &cached[i]})
	}
	slices.SortStableFunc(list, func(a, b listedImage) int { return rank(a.Name) - rank(b.Name) })
	return list
}

// rank is the place of an image in the list: first those that can be built, oldest first.
func rank(name string) int {
	if i := slices.Index(images.Names(), name); i >= 0 {
		return i
	}
	return len(images.Names())
}

func printImages(w io.Writer, list []listedImage) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSYSTEMD\tKERNEL\tSIZE\tBUILT\tMADE OF")
	for _, l := range list {
		if !l.Cached {
			fmt.Fprintf(t, "%s\t-\t-\t-\tnot yet\t-\n", l.Name)
			continue
		}
		m := *l.Manifest
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, m.SystemdVersion, m.KernelVersion, megabytes(m),
			m.Built.Local().Format(time.DateTime), cmp.Or(strings.Join(additions(m), ", "), m.Imported, "-"))
	}
	return t.Flush()
}

// additions returns what an image has besides its base.
func additions(m images.Manifest) []string {
	list := slices.Clone(m.Added)
	for _, d := range m.Debs {
		list = append(list, d.Name+" "+d.Version+" (.deb)")
	}
	if m.NoAutostart {
		list = append(list, "no autostart")
	}
	return list
}

func newImageRemove(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove images from the cache",
		Example: `  vmtest image rm debian-11
  vmtest image rm debian-13+6f1c2d7a90b3e845   # a name of the list`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			for _, name := range names {
				p := beginProgress(s.err, "removing "+name)
				err := images.Remove(cmd.Context(), name, images.Options{Progress: p.report})
				p.stop()
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// knownImages returns an error for the first name that is not the name of an image.
func knownImages(names []string) error {
	for _, name := range names {
		if err := images.Known(name, images.Options{}); err != nil {
			return err
		}
	}
	return nil
}

// describe returns the name of an image and its main versions.
func describe(m images.Manifest) string {
	return fmt.Sprintf("%s (systemd %s, kernel %s)", m.Title(), m.SystemdVersion, m.KernelVersion)
}

func megabytes(m images.Manifest) string {
	var size int64
	for _, f := range m.Files {
		size += f.Size
	}
	return fmt.Sprintf("%.0f MB", float64(size)/1e6)
}
