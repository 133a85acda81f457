package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/vmtest/internal/trim"
)

func newTrim(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "trim",
		Short: "List what guests do without, and why",
		Long: `Trim lists what a guest does without because it costs time, and why no packaged
daemon misses it: generators and units that are masked, devices that are no units, and what
arguments of the kernel and settings of journald switch off. VMTEST_UNTRIMMED=1 boots
guests with all of it.`,
		Example: `  vmtest trim
  VMTEST_UNTRIMMED=1 vmtest run systemctl list-units`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			items, err := trim.List()
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "KIND\tNAME\tREASON")
			for _, i := range items {
				if len(i.Unless) > 0 {
					i.Reason += "; kept if there is " + strings.Join(i.Unless, " or ")
				}
				fmt.Fprintf(t, "%s\t%s\t%s\n", i.Kind, i.Name, i.Reason)
			}
			return t.Flush()
		},
	}
}
