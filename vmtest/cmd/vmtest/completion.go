package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/images"
)

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a shell's script that completes vmtest's arguments",
		Long: `Completion prints a script for a shell. It completes commands and flags, and the names
of images.`,
		Example: `  source <(vmtest completion bash)    # in ~/.bashrc
  vmtest completion zsh > "${fpath[1]}/_vmtest"
  vmtest completion fish > ~/.config/fish/completions/vmtest.fish`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []cobra.Completion{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			}
			return fmt.Errorf("complete for %s: unknown shell", args[0])
		},
	}
}

// completeImages completes the name of an image: those that can be built, and those in
// the cache. It completes paths as well.
func completeImages(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := images.Names()
	cached, _ := images.List(images.Options{}) // a damaged one is no name to complete
	for _, m := range cached {
		if m.Imported != "" {
			names = append(names, m.Name)
		}
	}
	return names, cobra.ShellCompDirectiveDefault
}
