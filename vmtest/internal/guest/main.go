package guest

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// initPath is the agent's place in the initrd, from where the kernel starts it.
const initPath = "/init"

// Started reports whether this process is an agent, by the name that the kernel or
// systemd started it with. The command vmtest is one then.
func Started() bool {
	return os.Args[0] == AgentPath || os.Args[0] == initPath && os.Getpid() == 1
}

// Main is the agent's function main: the initrd's init as PID 1, and else the service. It
// returns the exit status.
func Main() int {
	if os.Getpid() == 1 {
		// When PID 1 exits, the kernel panics. The host shows its last lines.
		fmt.Fprintf(os.Stderr, "%s%v\n", InitFailed, Init())
		return 1
	}
	if len(os.Args) > 1 && os.Args[1] == CoreVerb {
		if err := describeCores(os.Stdout, os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "vmtest agent:", err)
			return 1
		}
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := Serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "vmtest agent:", err)
		return 1
	}
	return 0
}
