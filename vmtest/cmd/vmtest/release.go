package main

import (
	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/internal/held"
)

func newRelease(streams) *cobra.Command {
	return &cobra.Command{
		Use:   "release [NAME]",
		Short: "End a machine that is kept, so that its test goes on",
		Long: `Release ends the machine of a failed test that VMTEST_KEEP=1 keeps. The test goes on, and
fails. Without a NAME there must be only one machine that is held.`,
		Example: `  vmtest release
  vmtest release TestMyDaemon`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeHeld,
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := held.Find(firstOf(args))
			if err != nil {
				return err
			}
			ctx, cancel := vmtest.WithTimeout(cmd.Context(), attachWait)
			defer cancel()
			return held.Release(ctx, info.Dir)
		},
	}
}
