package vm

// QEMU returns the command line of this machine's QEMU, and the end of what it printed on its
// standard error.
func (m *Machine) QEMU() (args []string, stderr string) {
	return m.process.Args(), m.process.Stderr()
}
