package main

import (
	"github.com/spf13/cobra"
)

func newShell(s streams) *cobra.Command {
	r := commandRun{streams: s, tty: true}
	var image string
	var files guestFiles
	cmd := &cobra.Command{
		Use:   "shell [FLAG...] [--] [COMMAND [ARGUMENT...]]",
		Short: "Open a shell in a fresh guest",

		DisableFlagsInUseLine: true,
		Long: `Shell opens a login shell in a guest of its own, which is gone afterwards, or runs a
command with a terminal there. Job control, Ctrl-C, the size of the window and full-screen
programs work as in ssh. "~." at the beginning of a line ends it even if the guest hangs.

With --units and --with, files of the host are in the guest before. Units are loaded, not
started: systemctl start does that.

What the guest writes goes to this terminal as it is, control sequences too.`,
		Example: `  vmtest shell
  vmtest shell --package nginx --image debian-12
  vmtest shell --units ./units --with ./mydaemon:/usr/local/bin/mydaemon
  vmtest shell journalctl -f`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if r.command.Args = args; image != "" {
				r.images = []string{image}
			}
			if r.extra, r.units, err = files.find(); err != nil {
				return err
			}
			return r.run(cmd.Context())
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the command is its own
	addImageFlag(cmd, &image)
	addPackageFlags(cmd, &r.added)
	files.addFlags(cmd)
	addUserFlag(cmd, &r.command.User)
	return cmd
}
