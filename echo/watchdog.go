package echo

import (
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// watchdog sends WATCHDOG=1 at half of the interval that systemd allows
// (WatchdogSec=, sd_watchdog_enabled(3)), until stop is called. It calls alive before
// each, so a server in which alive does not return sends none.
func watchdog(log *slog.Logger, alive func()) (stop func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Error("cannot read the watchdog interval", "error", err.Error())
	}
	if err != nil || interval == 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	ticker := time.NewTicker(interval / 2)
	go func() {
		defer close(ended)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				alive()
				notify(log, daemon.SdNotifyWatchdog)
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
