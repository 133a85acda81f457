package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest"
)

// addImageFlag adds --image.
func addImageFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "image", "", "guest image `NAME`, or the path of an image or a recipe (default $VMTEST_IMAGE, or "+images.Default+")")
	cmd.RegisterFlagCompletionFunc("image", completeImages)
}

// addImagesFlag adds --image for several images.
func addImagesFlag(cmd *cobra.Command, names *[]string) {
	cmd.Flags().StringSliceVar(names, "image", nil, "guest images `NAME,...` (default $VMTEST_IMAGE, or "+images.Default+")")
	cmd.RegisterFlagCompletionFunc("image", completeImages)
}

// imagesOf returns the images that the flag names, or without one those of
// $VMTEST_IMAGE, or the default one, which is "".
func imagesOf(flag []string) ([]string, error) {
	if len(flag) == 0 {
		names, err := images.NamesIn(os.Getenv("VMTEST_IMAGE"))
		if err != nil {
			return nil, fmt.Errorf("read VMTEST_IMAGE: %w", err)
		}
		if names == nil {
			names = []string{""}
		}
		return names, nil
	}
	// The directory of an image is read when its turn comes.
	return flag, knownImages(slices.DeleteFunc(slices.Clone(flag), images.IsPath))
}

// addPackageFlags adds the flags for what a guest's image has besides its base.
func addPackageFlags(cmd *cobra.Command, s *images.Spec) {
	cmd.Flags().StringArrayVar(&s.Packages, "package", nil, "add the package `NAME` to the image; may be given several times")
	cmd.Flags().StringArrayVar(&s.Debs, "deb", nil, "add the package file `PATH` to the image; may be given several times")
	cmd.Flags().BoolVar(&s.NoAutostart, "no-autostart", false, "leave the units of added packages disabled")
}

// configOf returns the configuration of a guest with an image.
func configOf(s images.Spec) vmtest.Config {
	return vmtest.Config{Image: s.Base, Packages: s.Packages, Debs: s.Debs, NoAutostart: s.NoAutostart}
}

// addWithFlag adds --with.
func addWithFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVar(files, "with", nil, "also copy `HOSTPATH:GUESTPATH`; may be given several times")
}

// addUserFlag adds --user.
func addUserFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "user", "", "run the command as the user `NAME`, which may be a UID (default root)")
}

// guestFiles are the flags for what is copied into a guest before its command.
type guestFiles struct{ with, units []string }

func (f *guestFiles) addFlags(cmd *cobra.Command) {
	addWithFlag(cmd, &f.with)
	cmd.Flags().StringArrayVar(&f.units, "units", nil, "copy the unit file or the directory of units at `PATH`; may be given several times")
}

// find returns the files and the units.
func (f *guestFiles) find() (extra []extraFile, sets []unitSet, err error) {
	if extra, err = extraFiles(f.with); err != nil {
		return nil, nil, usageError{err}
	}
	if len(f.units) > 0 {
		sets, err = unitSets(f.units)
	}
	return extra, sets, err
}

// extraFile is a file or directory that units need.
type extraFile struct{ host, guest string }

func extraFiles(args []string) ([]extraFile, error) {
	var files []extraFile
	for _, arg := range args {
		i := strings.LastIndex(arg, ":/")
		if i < 1 {
			return nil, fmt.Errorf("--with %q is not HOSTPATH:GUESTPATH with an absolute GUESTPATH", arg)
		}
		files = append(files, extraFile{host: arg[:i], guest: path.Clean(arg[i+1:])})
	}
	return files, nil
}

// copyFiles copies files and directories into a guest.
func copyFiles(ctx context.Context, m *vmtest.Machine, files []extraFile) error {
	for _, f := range files {
		if err := m.Copy(ctx, f.host, f.guest); err != nil {
			return err
		}
	}
	return nil
}
