package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIRECTORY",
		Short: "Write vmtest's manual pages",
		Long: `Man writes a manual page for each command into a directory, which it makes if there is
none: vmtest.1, vmtest-run.1 and so on.`,
		Example: `  vmtest man ~/.local/share/man/man1
  man -l ~/.local/share/man/man1/vmtest-run.1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // has the date of the build, which then differs each time
			info, _ := debug.ReadBuildInfo()
			date := pagesDate(info)
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Date: &date, Source: "vmtest", Manual: "systemd-vmtest"}, args[0])
		},
	}
}

// pagesDate returns the date of the manual pages: that of the commit that this executable was
// built from, or a fixed one if that is not known. The same executable then always writes the
// same pages. info may be nil.
func pagesDate(info *debug.BuildInfo) time.Time {
	if info != nil {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return t
			}
		}
	}
	return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
}
