// Package host has what package images and package vmtest share about the machine
// that they run on: the cache directory, locks, free space, tools, sockets.
package host

import "fmt"

// Error reports what this host lacks: a tool, space, a network, user namespaces,
// a cache directory of its own. Nothing is wrong with the image or the program.
type Error struct {
	Cause string // one line
	Cure  string // one line, what a person can do
	Check Check  // the line of "vmtest doctor" about it, or empty
	Tail  string // last output of the tool that failed, possibly empty
	Err   error  // possibly nil
}

// Check names a line of "vmtest doctor".
type Check string

// The lines of "vmtest doctor", in their order.
const (
	QEMU           Check = "QEMU"
	KVM            Check = "KVM"
	Memory         Check = "memory"
	Disk           Check = "disk"
	TemporaryFiles Check = "temporary files"
	CacheDirectory Check = "cache"
	Tools          Check = "tools"
	Namespaces     Check = "user namespaces"
	GoCommand      Check = "Go"
	Agent          Check = "agent"
	Clock          Check = "clock"
)

func (e *Error) Error() string {
	if e.Check == "" {
		return e.Cause + " (" + e.Cure + ")"
	}
	return fmt.Sprintf("%s (%s; see %q in vmtest doctor)", e.Cause, e.Cure, e.Check)
}

func (e *Error) Unwrap() error { return e.Err }
