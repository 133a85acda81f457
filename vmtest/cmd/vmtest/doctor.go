package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/vmtest/internal/doctor"
)

func newDoctor(s streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this host, and say how to cure what it lacks",
		Long: `Doctor looks at what guests and their images need of this host, in less than ten
seconds: QEMU, KVM, memory, disk, the cache, tools, user namespaces, Go, the guest's
agent, the clock. It does not test the network, which only builds of images and
installations need. A line is "ok", "note" for what makes guests slower or keeps something
else from working, or "FAULT" if no guest runs. The error of a host that lacks something
names its line here.

KVM is tried with an image of the cache. Without one, it is not known whether it works.

The exit status is 3 if there is a fault.`,
		Example: `  vmtest doctor
  vmtest doctor --json | jq -r '.[] | select(.state != "ok") | .check + ": " + (.cure // .found)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return examine(cmd.Context(), s, asJSON)
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// examine prints the findings about this host.
func examine(ctx context.Context, s streams, asJSON bool) error {
	look := themeFor(s.out)
	found, sick := []doctor.Finding{}, false
	var errWrite error
	err := doctor.Examine(ctx, func(f doctor.Finding) {
		found = append(found, f)
		sick = sick || f.State == doctor.Fault
		if !asJSON && errWrite == nil {
			errWrite = printFinding(s.out, look, f)
		}
	})
	if err == nil && asJSON {
		errWrite = writeJSON(s.out, found)
	}
	if err != nil || errWrite != nil {
		return fmt.Errorf("examine this host: %w", cmp.Or(err, errWrite))
	}
	if sick {
		return &statusError{status: exitHost}
	}
	return nil
}

// printFinding prints a line, and below it the cure.
func printFinding(w io.Writer, look theme, f doctor.Finding) error {
	state := map[doctor.State]string{
		doctor.OK: look.paint("32", "ok   "), doctor.Note: look.paint("33", "note "), doctor.Fault: look.paint("31", "FAULT"),
	}[f.State]
	text := fmt.Sprintf("%s  %-15s  %s\n", state, f.Check, f.Found)
	if f.Cure != "" {
		text += fmt.Sprintf("       %-15s  cure: %s\n", "", f.Cure)
	}
	_, err := io.WriteString(w, text)
	return err
}
