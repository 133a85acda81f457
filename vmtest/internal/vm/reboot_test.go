package vm

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/link"
)

func TestRefusedRestart(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"done":                       {nil, false},
		"link went with the system":  {fmt.Errorf("run systemctl: %w", link.ErrLost), false},
		"agent went with the system": {fmt.Errorf("run systemctl: %w", &GuestError{Err: link.ErrLost}), false},
		"guest gone":                 {fmt.Errorf("run systemctl: %w", &GuestError{}), false},
		"stopped with the system":    {fmt.Errorf("run systemctl: %w", &link.ExitError{ExitCode: -1, Signal: "TERM"}), false},
		"exit status":                {fmt.Errorf("run systemctl: %w", &link.ExitError{ExitCode: 1}), true},
		"crash":                      {fmt.Errorf("run systemctl: %w", &link.ExitError{ExitCode: -1, Signal: "SEGV"}), true},
		"not started":                {&link.StartError{Name: "systemctl", Errno: syscall.ENOENT}, true},
		"given up":                   {fmt.Errorf("run systemctl: %w", context.Canceled), true},
	} {
		assert.Equal(t, test.want, refused(test.err), name)
	}
}
