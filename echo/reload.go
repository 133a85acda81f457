package echo

import (
	"context"
	"log/slog"

	"github.com/coreos/go-systemd/v22/daemon"
)

// reloads calls ReadConfig for each value from Reload until ctx is done. RELOADING=1
// and READY=1 tell systemd when that begins and ends. With MONOTONIC_USEC= they are what
// Type=notify-reload requires (systemd.service(5)); Type=notify takes them, too.
func (s *Server) reloads(ctx context.Context, limits []*limit, log *slog.Logger) {
	log = log.With("event", "reload")
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Reload:
		}
		notify(log, daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec())
		if most, err := s.readConfig(); err != nil {
			log.Error("cannot reload, the old configuration stays", "error", err.Error())
		} else {
			for _, l := range limits {
				l.setMax(most)
			}
			log.Info("reloaded", "max_connections", most)
		}
		notify(log, daemon.SdNotifyReady)
	}
}

func (s *Server) readConfig() (maxConnections int, err error) {
	if s.ReadConfig == nil {
		return s.MaxConnections, nil
	}
	return s.ReadConfig()
}
