// Package probe describes what the command of that name reports.
package probe

// Report is what a probe was started with.
type Report struct {
	PID, UID int
	Env      map[string]string
	FDs      []FD   // descriptor 0, and those that LISTEN_FDNAMES names
	Cred     string // "UID PID" of the peer of an AF_UNIX connection, or ""
}

// FD is a descriptor of a probe.
type FD struct {
	FD      int
	Name    string // in LISTEN_FDNAMES
	Kind    string // stream, datagram, seqpacket, fifo or other
	Listens bool
	Local   string            // address, as Go writes it
	Options map[string]int    // socket options by the name of their constant
	Text    map[string]string // those that are text, extended attributes, and "path"
}
