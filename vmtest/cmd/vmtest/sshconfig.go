package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/vmtest/internal/held"
)

func newSSHConfig(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "ssh-config [NAME]",
		Short: "Print a configuration of ssh for machines that are held",
		Long: `Ssh-config prints a block of ssh_config(5) for a machine that is held, or for each of them.
With it ssh, scp, sftp, port forwarding and what builds on these reach the guest, which needs
neither a network nor an SSH server of its own: they talk to vmtest's agent, as root.

The connection goes through this program and a Unix socket for this user alone. ssh checks
the agent's key, which the holder of the machine has from its own connection.

A machine is held while its "vmtest shell" or Guest.Shell runs, and after its test has failed
with VMTEST_KEEP=1.`,
		Example: `  vmtest ssh-config > config
  ssh -F config TestMyDaemon journalctl -f
  scp -F config ./mydaemon TestMyDaemon:/usr/local/bin/
  ssh -F config -L 8080:127.0.0.1:8080 TestMyDaemon`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeHeld,
		RunE: func(_ *cobra.Command, args []string) error {
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			found, err := heldOrAll(firstOf(args))
			for _, info := range found {
				if _, err := fmt.Fprint(s.out, info.SSHConfig(program, "ssh-proxy", info.Dir)); err != nil {
					return err
				}
			}
			return err
		},
	}
}

// heldOrAll returns the machine of a name, or without one all that are held. None is an error.
func heldOrAll(name string) ([]held.Info, error) {
	if name == "" {
		if all, err := held.List(); err != nil || len(all) > 0 {
			return all, err
		}
	}
	info, err := held.Find(name)
	if err != nil {
		return nil, err
	}
	return []held.Info{info}, nil
}

// newSSHProxy is the ProxyCommand of the configuration that ssh-config prints.
func newSSHProxy(s streams) *cobra.Command {
	return &cobra.Command{
		Use:     "ssh-proxy DIRECTORY",
		Short:   "Connect standard input and output to a machine that is held",
		Example: "  ssh -o ProxyCommand='vmtest ssh-proxy DIRECTORY' ...",
		Hidden:  true,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return held.Proxy(cmd.Context(), args[0], s.in, s.out)
		},
	}
}
