package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"example.org/systemd-vmtest/images"
)

func newImageImport(s streams) *cobra.Command {
	var o images.ImportOptions
	var gigabytes float64
	cmd := &cobra.Command{
		Use:   "import NAME SOURCE",
		Short: "Make an image of any distribution's root file system",
		Long: `Import makes an image of a root file system with systemd in it: of Fedora, Arch,
openSUSE, a company's golden image, or what mkosi builds. Then NAME can be given
wherever the name of an image can, as in VMTEST_IMAGE=NAME go test.

SOURCE is a directory, a tar archive, an OCI layout (a directory or a tar archive), or an
archive of docker save. Archives may be compressed by gzip, zstd or xz. Images for
containers often have no systemd or no /sbin/init; install them there first.

The guest boots the newest kernel of SOURCE that has the drivers of a virtual machine,
and otherwise that of --kernel. What the guest lacks, and what was changed so that it can
boot, is printed on stderr. What is tested is a Debian that is rearranged; see
"go doc example.org/systemd-vmtest/images.Import" for that and for the details.`,
		Example: `  vmtest image import arch ./arch-systemd.tar.zst
  docker save company/base -o base.tar && vmtest image import base base.tar
  mkosi --format=directory && vmtest image import mine mkosi.output/image
  VMTEST_IMAGE=base go test`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if gigabytes < 0 || gigabytes > 1e6 {
				return usageError{fmt.Errorf("--max-size %g: want gigabytes above 0", gigabytes)}
			}
			o.MaxBytes = int64(gigabytes * 1e9)
			p := beginProgress(s.err, "importing "+args[0])
			o.Progress = p.report
			image, err := images.Import(cmd.Context(), args[0], args[1], o)
			p.stop()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "imported %s: %s, %s\n", describe(image.Manifest), image.Distribution, megabytes(image.Manifest))
			return err
		},
	}
	cmd.Flags().StringVar(&o.Kernel, "kernel", images.Default, "image `NAME` whose kernel the guest boots if SOURCE has none")
	cmd.Flags().Float64Var(&gigabytes, "max-size", 0, "the most `GB` of the files in SOURCE (default 16)")
	return cmd
}
