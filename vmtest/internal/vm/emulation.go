package vm

import "sync"

// emulationNoticed is done once noticeEmulation has called Notice.
var emulationNoticed sync.Once

// noticeEmulation reports once in a process why guests are emulated, unless the user
// chose that. It is for where a person waits because of it.
func (s Spec) noticeEmulation() {
	if s.Files.KVMFault == "" {
		return
	}
	emulationNoticed.Do(func() { s.notice("guests are emulated (TCG): " + s.Files.KVMFault) })
}
