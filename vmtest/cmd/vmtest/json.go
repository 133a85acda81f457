package main

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"
)

// addJSONFlag adds --json.
func addJSONFlag(cmd *cobra.Command, set *bool) {
	cmd.Flags().BoolVar(set, "json", false, "print a JSON document for programs to read")
}

// writeJSON writes v as an indented JSON document.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
