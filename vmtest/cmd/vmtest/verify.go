package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// verification is one call of "vmtest verify".
type verification struct {
	streams
	images []string    // none is those of $VMTEST_IMAGE
	added  images.Spec // to each image
	extra  []extraFile
	accept *systemd.Acceptance
	all    bool // report findings about other units too
	theme  theme
}

func newVerify(s streams) *cobra.Command {
	var imageNames, with, accept []string
	v := verification{streams: s}
	cmd := &cobra.Command{
		Use:   "verify PATH...",
		Short: "Check unit files with systemd-analyze verify",
		Long: `Verify copies unit files into a fresh guest, runs systemd-analyze verify on them
there, and fails if that reports anything about them. A PATH is a unit file or a
directory. Of a directory, everything is copied, drop-ins too, and its unit files are
verified. Files of one directory are verified together, and those of different
directories each in a guest of its own.

systemd-analyze also looks for the programs that units start. Copy those that the
guest lacks with --with. It does not look for manual pages, which guests do not have.

--accept REGEXP ignores findings whose line matches. An expression that matches nothing
on any image is an error.`,
		Example: `  vmtest verify --image debian-11,debian-12,debian-13 ./units
  vmtest verify --with ./demo-echo:/usr/local/bin/demo-echo echo/units/accept-no
  vmtest verify --accept "^old.service: .*KillMode=none" ./units`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			sets, err := unitSets(paths)
			if err != nil {
				return err
			}
			v.images, v.theme = imageNames, themeFor(s.out)
			if v.extra, err = extraFiles(with); err != nil {
				return usageError{err}
			}
			if v.accept, err = systemd.NewAcceptance(accept); err != nil {
				return usageError{err}
			}
			return v.run(cmd.Context(), sets)
		},
	}
	cmd.Flags().StringSliceVar(&imageNames, "image", nil, "guest images `NAME,...` (default $VMTEST_IMAGE, or "+images.Default+")")
	addPackageFlags(cmd, &v.added)
	cmd.Flags().StringArrayVar(&with, "with", nil, "also copy `HOSTPATH:GUESTPATH`; may be given several times")
	cmd.Flags().StringArrayVar(&accept, "accept", nil, "accept findings that match `REGEXP`; may be given several times")
	cmd.Flags().BoolVar(&v.all, "all", false, "also report findings about units that these depend on")
	return cmd
}

// run verifies each set on each image.
func (v verification) run(ctx context.Context, sets []unitSet) error {
	// The directory of an image is read when its turn comes.
	if err := knownImages(slices.DeleteFunc(slices.Clone(v.images), images.IsPath)); err != nil {
		return err
	}
	names := v.images
	if len(names) == 0 {
		names = strings.Split(os.Getenv("VMTEST_IMAGE"), ",") // "" is the default one
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
	if err := v.accept.Unused(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if bad {
		return &statusError{status: exitFailed}
	}
	return nil
}

// one verifies a set in a guest of its own, and reports whether there are no findings.
func (v verification) one(ctx context.Context, image string, set unitSet) (ok bool, err error) {
	m, err := launch(ctx, v.streams, v.config(image))
	if err != nil {
		return false, err
	}
	defer func() { err = closeGuest(m, err) }()
	if err := v.copyIn(ctx, m, set); err != nil {
		return false, err
	}
	found, err := m.Findings(ctx, vmtest.Verification{Units: set.guestPaths(m.Image().UnitDir()), All: v.all})
	if err != nil {
		return false, err
	}
	return v.report(set, m.Image(), found)
}

// config returns the configuration of a guest.
func (v verification) config(image string) vmtest.Config {
	v.added.Base = image
	return configOf(v.added)
}

// report prints the findings that are not accepted, and reports whether there are none.
func (v verification) report(set unitSet, guest images.Manifest, found []vmtest.Finding) (ok bool, err error) {
	all := make([]systemd.Finding, len(found))
	for i, f := range found {
		all[i] = systemd.Finding(f)
	}
	rest := v.accept.Rest(all)
	mark := v.theme.passed()
	if len(rest) > 0 {
		mark = v.theme.failed()
	}
	text := fmt.Sprintf("%s %s on %s\n", mark, set, describe(guest))
	for _, f := range rest {
		text += f.String() + "\n"
	}
	_, err = io.WriteString(v.out, text)
	return len(rest) == 0, err
}

func (v verification) copyIn(ctx context.Context, m *vmtest.Machine, set unitSet) error {
	for _, f := range v.extra {
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
