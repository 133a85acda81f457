package cfile

// InitHook is what the compiler calls at the beginning of the main package of a program that is
// built with -cover. Unlike the one that it replaces, it writes no files and no warnings: the
// program may have no directory to write to, and a client at its standard error.
func InitHook(bool) {
	if _, err := prepareForMetaEmit(); err == nil {
		shareCounters()
	}
}
