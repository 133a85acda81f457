package main

import (
	"fmt"
	"os"

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
  man vmtest-run`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // has the date of the build, which then differs each time
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "vmtest", Manual: "systemd-vmtest"}, args[0])
		},
	}
}
