// Table makes the table of behaviours by version of systemd from a run of the conformance
// set. It reads the output of go test -json on standard input.
//
//	VMTEST_IMAGE=debian-11,debian-12,debian-13,debian-14 go test -json ./scenarios/conformance |
//		go run ./scenarios/conformance/cmd/table -write scenarios/CONFORMANCE.md
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

// run writes or checks the table of the run on in. Tests that failed, and the usage, go to
// failures.
func run(args []string, in io.Reader, failures io.Writer) error {
	flags := flag.NewFlagSet("table", flag.ContinueOnError)
	write := flags.String("write", "", "write the table to `FILE`")
	check := flags.String("check", "", "fail if the table in `FILE` is another one")
	flags.SetOutput(failures)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) { // which has been printed
			return nil
		}
		return err
	}
	if (*write == "") == (*check == "") || flags.NArg() > 0 {
		return fmt.Errorf("want either -write FILE or -check FILE")
	}
	cells, err := read(in, failures)
	if err != nil {
		return err
	}
	table, err := render(cells)
	if err != nil {
		return err
	}
	if *write != "" {
		return os.WriteFile(*write, []byte(table), 0o644)
	}
	old, err := os.ReadFile(*check)
	if err != nil {
		return err
	}
	return compare(*check, string(old), table)
}

// compare returns an error with the lines in which two tables differ.
func compare(file, old, table string) error {
	if old == table {
		return nil
	}
	has := func(text, line string) bool { return strings.Contains("\n"+text, "\n"+line) }
	var b strings.Builder
	for line := range strings.Lines(old) {
		if !has(table, line) {
			b.WriteString("\n- " + strings.TrimSuffix(line, "\n"))
		}
	}
	for line := range strings.Lines(table) {
		if !has(old, line) {
			b.WriteString("\n+ " + strings.TrimSuffix(line, "\n"))
		}
	}
	return fmt.Errorf("%s is not what the run saw; to replace it, run make conformance:%s", file, b.String())
}
