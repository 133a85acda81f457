// Seal turns a directory with a kernel and a root file system, as built by Nix, into
// a guest image; see images.Seal. It reads the known fields of the manifest as JSON
// from standard input, and its time from SOURCE_DATE_EPOCH.
//
// Usage: seal DIRECTORY MODULES-TREE <MANIFEST
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"example.org/systemd-vmtest/images"
)

func main() {
	if err := run(os.Args[1:], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "seal:", err)
		os.Exit(1)
	}
}

func run(args []string, manifest io.Reader) error {
	if len(args) != 2 {
		return errors.New("parse arguments: want DIRECTORY and MODULES-TREE")
	}
	var m images.Manifest
	dec := json.NewDecoder(manifest)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("read SOURCE_DATE_EPOCH: %w", err)
	}
	m.Built = time.Unix(epoch, 0).UTC()
	return images.Seal(args[0], m, args[1])
}
