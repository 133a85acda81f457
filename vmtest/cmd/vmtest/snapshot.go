package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

func newSnapshot(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "List and remove snapshots of booted and of prepared guests",
		Long: `A snapshot of each kind of guest is made at its first boot and kept in the cache,
$VMTEST_CACHE or systemd-vmtest in the user's cache directory. So is one of each
vmtest.Template with a name, when a test prepares it. Tests fork from it. If it is
removed, it is made again when a test needs it.`,
		Example: `  vmtest snapshot list
  vmtest snapshot prune`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSnapshotList(s), newSnapshotRemove(), newSnapshotPrune(s))
	return cmd
}

func newSnapshotList(s streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the snapshots, last used first",
		Example: `  vmtest snapshot list
  vmtest snapshot list --json | jq '[.[].bytes] | add'`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			store, err := snapshots.OpenCached()
			if err != nil {
				return err
			}
			list, err := store.List()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(s.out, listedSnapshots(list))
			}
			return printSnapshots(s.out, list)
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// listedSnapshot is what "snapshot list --json" prints for a snapshot.
type listedSnapshot struct {
	Key       string          `json:"key"`
	Image     string          `json:"image,omitempty"`
	MemoryMiB int             `json:"memoryMiB,omitempty"`
	Bytes     int64           `json:"bytes"` // on disk
	Used      time.Time       `json:"used"`
	Template  *listedTemplate `json:"template,omitempty"`
	Unusable  string          `json:"unusable,omitempty"` // why no test forks from it
}

// listedTemplate says which preparation a snapshot is of.
type listedTemplate struct {
	Name    string `json:"name"`
	Package string `json:"package"`
	Dir     string `json:"dir"`
}

func listedSnapshots(list []snapshots.Listed) []listedSnapshot {
	all := []listedSnapshot{}
	for _, l := range list {
		s := listedSnapshot{Key: l.Key, Image: l.Image, MemoryMiB: l.Memory, Bytes: l.Bytes, Used: l.Used}
		if l.Fault != nil {
			s.Unusable = l.Fault.Error()
		}
		if t := l.Template; t != nil {
			s.Template = &listedTemplate{t.Name, t.Package, t.Dir}
		}
		all = append(all, s)
	}
	return all
}

// shortKey is the length of the part of a key that is shown.
const shortKey = 12

func printSnapshots(w io.Writer, list []snapshots.Listed) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KEY\tIMAGE\tMEMORY\tON DISK\tLAST USED\tTEMPLATE")
	for _, l := range list {
		used := l.Used.Local().Format(time.DateTime)
		if l.Fault != nil {
			fmt.Fprintf(t, "%.*s\t-\t-\t%d MB\t%s\tunusable: %v\n", shortKey, l.Key, l.Bytes/1e6, used, l.Fault)
			continue
		}
		template := "-"
		if l.Template != nil {
			template = tail.Printable(l.Template.Name + " of " + l.Template.Package + " in " + l.Template.Dir)
		}
		fmt.Fprintf(t, "%.*s\t%s\t%d MiB\t%d MB\t%s\t%s\n", shortKey, l.Key, l.Image, l.Memory, l.Bytes/1e6, used, template)
	}
	return t.Flush()
}

func newSnapshotRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "rm KEY...",
		Short:   "Remove snapshots, named as list shows them",
		Example: "  vmtest snapshot rm 0d2368cfd10a",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, keys []string) error {
			store, err := snapshots.OpenCached()
			if err != nil {
				return err
			}
			var errs []error
			for _, key := range keys {
				errs = append(errs, store.Remove(key))
			}
			return errors.Join(errs...)
		},
	}
}

// megabyte is the unit of --limit, in bytes.
const megabyte = 1_000_000

func newSnapshotPrune(s streams) *cobra.Command {
	var limit int64
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove snapshots until the rest is small enough",
		Long: `Prune removes snapshots, longest unused first and none that is in use, until the rest
takes no more than --limit.`,
		Example: `  vmtest snapshot prune --limit 1000   # leave one GB
  vmtest snapshot prune --limit 0      # leave only what is in use`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if limit < 0 || limit > math.MaxInt64/megabyte {
				return usageError{fmt.Errorf("--limit %d is not from 0 to %d", limit, int64(math.MaxInt64/megabyte))}
			}
			store, err := snapshots.OpenCached()
			if err != nil {
				return err
			}
			removed, err := store.Prune(limit * megabyte)
			var bytes int64
			for _, l := range removed {
				bytes += l.Bytes
			}
			if err == nil {
				_, err = fmt.Fprintf(s.out, "removed %d snapshots, %d MB\n", len(removed), bytes/1e6)
			}
			return err
		},
	}
	cmd.Flags().Int64Var(&limit, "limit", snapshots.DefaultLimit/megabyte, "leave no more than this number of `MB`")
	return cmd
}
