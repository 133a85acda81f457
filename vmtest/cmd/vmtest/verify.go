package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/vmtest"
)

// verification is one call of "vmtest verify".
type verification struct {
	streams
	images []string // "" is the default one
	extra  []extraFile
	theme  theme
}

func newVerify(s streams) *cobra.Command {
	var imageNames, with []string
	cmd := &cobra.Command{
		Use:   "verify PATH...",
		Short: "Have systemd-analyze verify look at unit files",
		Long: `Verify copies unit files into a fresh guest, runs systemd-analyze verify on them
there, and fails when that says anything. A PATH is a unit file, or a folder: then
all in it is copied, drop-ins too, and its unit files are verified. Files of one
folder are verified together, those of different folders each in a guest of its
own.

systemd-analyze also looks for the programs that units start. Bring those that the
guest lacks with --with.`,
		Example: `  vmtest verify --image debian-11,debian-12,debian-13 ./units
  vmtest verify --with ./demo-echo:/usr/local/bin/demo-echo echo/units/accept-no`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			sets, err := unitSets(paths)
			if err != nil {
				return err
			}
			v := verification{streams: s, images: imageNames, theme: themeFor(s.out)}
			if v.extra, err = extraFiles(with); err != nil {
				return usageError{err}
			}
			return v.all(cmd.Context(), sets)
		},
	}
	cmd.Flags().StringSliceVar(&imageNames, "image", nil, "guest images `NAME,...` (default $VMTEST_IMAGE, or the default one)")
	cmd.Flags().StringArrayVar(&with, "with", nil, "also copy `HOSTPATH:GUESTPATH`; may be given several times")
	return cmd
}

// all verifies each set on each image.
func (v verification) all(ctx context.Context, sets []unitSet) error {
	// A folder with an image is looked at when its turn comes.
	isFolder := func(name string) bool { return strings.ContainsRune(name, '/') }
	if err := knownImages(slices.DeleteFunc(slices.Clone(v.images), isFolder)); err != nil {
		return err
	}
	names := v.images
	if len(names) == 0 {
		names = []string{""}
	}
	bad := false
	for _, name := range names {
		for _, set := range sets {
			ok, err := v.one(ctx, name, set)
			if err != nil {
				return err
			}
			bad = bad || !ok
		}
	}
	if bad {
		return &statusError{status: exitFailed}
	}
	return nil
}

// one verifies a set in a guest of its own, and tells whether it is good.
func (v verification) one(ctx context.Context, image string, set unitSet) (ok bool, err error) {
	m, err := launch(ctx, v.streams, vmtest.Config{Image: image})
	if err != nil {
		return false, err
	}
	defer m.Close()
	if err := v.copyIn(ctx, m, set); err != nil {
		return false, err
	}
	err = m.Verify(ctx, set.guestPaths(m.Image().UnitDir())...)
	var found *vmtest.VerifyError
	if err != nil && !errors.As(err, &found) {
		return false, err
	}
	mark, output := v.theme.passed(), ""
	if found != nil {
		mark = v.theme.failed()
		output = orNothing(strings.TrimSpace(found.Output)) + "\n"
	}
	_, err = fmt.Fprintf(v.out, "%s %s on %s\n%s", mark, set, describe(m.Image()), output)
	return found == nil, err
}

func (v verification) copyIn(ctx context.Context, m *vmtest.Machine, set unitSet) error {
	for _, f := range v.extra {
		if _, err := m.Run(ctx, "mkdir", "-p", path.Dir(f.guest)); err != nil {
			return err
		}
		if err := m.Copy(ctx, f.host, f.guest); err != nil {
			return err
		}
	}
	if set.whole {
		return m.Copy(ctx, set.dir, m.Image().UnitDir())
	}
	for _, name := range set.units {
		if err := m.Copy(ctx, set.hostPath(name), m.Image().UnitDir()+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

// extraFile is a file or folder that units need.
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
