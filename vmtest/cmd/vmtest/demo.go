package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest"
)

// guideUnits are copies of the guide's units, which are in scenarios/testdata/guide. go:embed
// reaches no directory above its own.
//
//go:embed guide
var guideUnits embed.FS

// demo is one call of "vmtest demo".
type demo struct {
	streams
	image images.Spec
	cold  bool
	units string        // directory; "" is guideUnits
	limit time.Duration // for each command
}

func newDemo(s streams) *cobra.Command {
	d := demo{streams: s}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show socket activation on a real systemd, step by step",
		Long: `Demo walks through a how-to for systemd socket activation in a guest of its own.
It copies ` + guideSocket + ` and ` + guideService + ` into the guest, verifies,
enables and uses them, and prints each command, its output, and whether it is as expected.

--units takes two units of these names from a directory instead. Use that to see what happens
when they are wrong.`,
		Example: `  vmtest demo
  vmtest demo --image debian-11 --units ./mine`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.show(cmd.Context()) },
	}
	addImageFlag(cmd, &d.image.Base)
	addPackageFlags(cmd, &d.image)
	cmd.Flags().StringVar(&d.units, "units", "", "directory `DIR` with the two units (default those of the how-to)")
	cmd.Flags().BoolVar(&d.cold, "cold", false, "boot the guest instead of forking it from a snapshot")
	cmd.Flags().DurationVar(&d.limit, "limit", 2*time.Minute, "timeout of each command")
	return cmd
}

func (d demo) show(ctx context.Context) (err error) {
	units, err := readGuideUnits(d.directory())
	if err != nil {
		return err
	}
	config := configOf(d.image)
	config.ColdBoot = d.cold
	m, err := launch(ctx, d.streams, config)
	if err != nil {
		return err
	}
	defer func() { err = closeGuest(m, err) }()
	up := time.Since(m.Began())
	for name, data := range units {
		data = bytes.ReplaceAll(data, []byte("=/bin/"), []byte("="+m.Image().BinDir()+"/"))
		if err := m.WriteFile(ctx, m.Image().UnitDir()+"/"+name, data, 0o644); err != nil {
			return err
		}
	}
	look := themeFor(d.out)
	t := &transcript{w: d.out, theme: look, run: guestShell(m, look), limit: d.limit}
	t.printf("%s\n\n", look.dim(fmt.Sprintf("# %s, up after %s", describe(m.Image()), seconds(up))))
	begin := time.Now()
	if err := t.take(ctx, guideSteps(m.Image())); err != nil {
		return err
	}
	if err := t.summary(describe(m.Image()), time.Since(begin)); err != nil {
		return err
	}
	if t.failed > 0 {
		return &statusError{status: exitFailed}
	}
	return nil
}

// directory returns the directory with the two units.
func (d demo) directory() (dir fs.FS, name string) {
	if d.units != "" {
		return os.DirFS(d.units), d.units
	}
	dir, err := fs.Sub(guideUnits, "guide")
	if err != nil {
		panic(err) // of a path that is none
	}
	return dir, "vmtest"
}

func readGuideUnits(dir fs.FS, in string) (map[string][]byte, error) {
	units := make(map[string][]byte)
	for _, name := range []string{guideSocket, guideService} {
		data, err := fs.ReadFile(dir, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("no %s in %s", name, in)
		case err != nil:
			return nil, fmt.Errorf("read unit in %s: %w", in, err)
		}
		units[name] = data
	}
	return units, nil
}

// outputShown is the most bytes of a command's output that are kept.
const outputShown = 64 << 10

// guestShell returns a runner of commands in the guest.
func guestShell(m *vmtest.Machine, look theme) runner {
	var env []string
	if !look.utf8 {
		env = []string{"LC_ALL=C"} // makes systemd print arrows and dots in ASCII
	}
	return func(ctx context.Context, command string) (string, error) {
		out := tail.NewBuffer(outputShown)
		// The same writer for both streams keeps their order.
		r, err := m.Exec(ctx, vmtest.Command{Args: []string{"sh", "-c", command}, Env: env, Stdout: out, Stderr: out})
		data, dropped := out.Bytes()
		if dropped {
			data = append([]byte("(earlier output is not shown)\n"), data...)
		}
		return string(data), cmp.Or(err, r.Err())
	}
}
