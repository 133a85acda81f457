package main

import (
	"github.com/spf13/cobra"
)

func newShell(s streams) *cobra.Command {
	r := commandRun{streams: s, tty: true}
	var image string
	var attached bool
	var files guestFiles
	cmd := &cobra.Command{
		Use: "shell [FLAG...] [--] [COMMAND [ARGUMENT...]]\n" +
			"  vmtest shell --attach [--user NAME] [--] [MACHINE [COMMAND [ARGUMENT...]]]",
		Short: "Open a shell in a fresh guest",

		DisableFlagsInUseLine: true,
		Long: `Shell opens a login shell in a guest of its own, which is gone afterwards, or runs a
command with a terminal there. Job control, Ctrl-C, the size of the window and full-screen
programs work as in ssh. "~." at the beginning of a line ends it even if the guest hangs.

With --units and --with, files of the host are in the guest before. Units are loaded, not
started: systemctl start does that.

With --attach, it opens a shell in a machine that another process holds: that of a failed
test with VMTEST_KEEP=1, or of another vmtest shell. MACHINE is the name of the test, and may
be left out if only one machine is held. The machine stays when the shell ends.

What the guest writes goes to this terminal as it is, control sequences too.`,
		Example: `  vmtest shell
  vmtest shell --package nginx --image debian-12
  vmtest shell --units ./units --with ./mydaemon:/usr/local/bin/mydaemon
  vmtest shell journalctl -f
  vmtest shell --attach TestMyDaemon`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if attached {
				r.command.Args = args[min(len(args), 1):]
				return r.attached(cmd, firstOf(args))
			}
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
	cmd.Flags().BoolVar(&attached, "attach", false, "open the shell in a machine that is held, instead of a fresh guest")
	cmd.ValidArgsFunction = completeAttached(&attached)
	return cmd
}
