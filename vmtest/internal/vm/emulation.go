package vm

import "sync"

// saidEmulation is for NoticeEmulation.
var saidEmulation sync.Once

// NoticeEmulation says once in a process why guests are emulated, unless the user chose
// that.
func (s Spec) NoticeEmulation() {
	if s.Files.KVMFault == "" {
		return
	}
	saidEmulation.Do(func() { s.notice("guests are emulated (TCG): " + s.Files.KVMFault) })
}
