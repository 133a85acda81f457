// Package host has what package images and package vmtest share about the machine
// that they run on: the cache directory, locks, free space, tools, sockets.
package host

// Error reports what this host lacks: a tool, space, a network, user namespaces,
// a cache directory of its own. Nothing is wrong with the image or the program.
type Error struct {
	Cause string // one line
	Cure  string // one line, what a person can do
	Tail  string // last output of the tool that failed, possibly empty
	Err   error  // possibly nil
}

func (e *Error) Error() string { return e.Cause + " (" + e.Cure + ")" }

func (e *Error) Unwrap() error { return e.Err }
