package main

import (
	"context"
	"fmt"
	"io"

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
	json   bool
	theme  theme

	verified []verifiedSet // for the JSON document
}

// verifiedSet is what "verify --json" prints for a set of units on an image.
type verifiedSet struct {
	Image          string         `json:"image"`
	SystemdVersion string         `json:"systemdVersion"`
	KernelVersion  string         `json:"kernelVersion"`
	Path           string         `json:"path"`
	Units          []string       `json:"units"`
	Findings       []verifyResult `json:"findings"`
}

// verifyResult is a finding that --accept does not match.
type verifyResult struct {
	Unit string `json:"unit,omitempty"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
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
  vmtest verify --json ./units | jq '.[].findings[].text'
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
	addImagesFlag(cmd, &imageNames)
	addPackageFlags(cmd, &v.added)
	addWithFlag(cmd, &with)
	cmd.Flags().StringArrayVar(&accept, "accept", nil, "accept findings that match `REGEXP`; may be given several times")
	cmd.Flags().BoolVar(&v.all, "all", false, "also report findings about units that these depend on")
	addJSONFlag(cmd, &v.json)
	return cmd
}

// run verifies each set on each image.
func (v *verification) run(ctx context.Context, sets []unitSet) error {
	names, err := imagesOf(v.images)
	if err != nil {
		return err
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
	if v.json {
		if err := writeJSON(v.out, v.verified); err != nil {
			return err
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
func (v *verification) one(ctx context.Context, image string, set unitSet) (ok bool, err error) {
	m, err := launch(ctx, v.streams, v.config(image))
	if err != nil {
		return false, err
	}
	defer func() { err = closeGuest(m, err) }()
	if err := copyFiles(ctx, m, v.extra); err != nil {
		return false, err
	}
	if err := set.copyTo(ctx, m); err != nil {
		return false, err
	}
	found, err := m.Findings(ctx, vmtest.Verification{Units: set.guestPaths(m.Image().UnitDir()), All: v.all})
	if err != nil {
		return false, err
	}
	return v.report(set, m.Image(), found)
}

// config returns the configuration of a guest.
func (v *verification) config(image string) vmtest.Config {
	v.added.Base = image
	return configOf(v.added)
}

// report prints the findings that are not accepted, and reports whether there are none.
func (v *verification) report(set unitSet, guest images.Manifest, found []vmtest.Finding) (ok bool, err error) {
	all := make([]systemd.Finding, len(found))
	for i, f := range found {
		all[i] = systemd.Finding(f)
	}
	rest := v.accept.Rest(all)
	if v.json {
		v.verified = append(v.verified, newVerifiedSet(set, guest, rest))
		return len(rest) == 0, nil
	}
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

// newVerifiedSet returns what is printed for a set with these findings on a guest.
func newVerifiedSet(set unitSet, guest images.Manifest, found []systemd.Finding) verifiedSet {
	v := verifiedSet{guest.Title(), guest.SystemdVersion, guest.KernelVersion, set.String(), set.units, []verifyResult{}}
	for _, f := range found {
		v.Findings = append(v.Findings, verifyResult(f))
	}
	return v
}
