package agent

import (
	"bytes"
	"os"
	"sync"
)

// protection is the agent's protection from the kernel's out-of-memory killer
// (proc_pid_oom_score_adj(5)). If a command inherited it, the kernel would kill the
// guest's services one by one for the memory that the command uses.
var protection struct {
	mu   sync.Mutex
	file *os.File // set when seen; nil if the agent is not protected
	own  []byte   // the agent's score
	seen bool
}

// unprotected calls start, which starts a child, without the protection. So the child
// has none from its first instruction on.
func unprotected(start func() error) error {
	p := &protection
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.seen {
		p.seen = true
		const score = "/proc/self/oom_score_adj"
		if own, err := os.ReadFile(score); err == nil && bytes.HasPrefix(own, []byte("-")) {
			p.own = own
			p.file, _ = os.OpenFile(score, os.O_WRONLY, 0) // nil if that is not allowed
		}
	}
	if p.file == nil {
		return start()
	}
	if _, err := p.file.WriteAt([]byte("0"), 0); err != nil {
		return err
	}
	err := start()
	if _, back := p.file.WriteAt(p.own, 0); err == nil {
		err = back
	}
	return err
}
