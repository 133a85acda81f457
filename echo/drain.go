package echo

import (
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// drain waits up to DrainTimeout for open connections to end, or for what was read
// from them if they are stored, then resets the rest.
func (s *Server) drain(conns *openConns, log *slog.Logger) (err error) {
	bound := s.DrainTimeout
	if bound == 0 {
		bound = DefaultDrainTimeout
	}
	log.Info("stopping, draining connections", "connections", conns.count(), "bound", bound.String())
	notify(log, daemon.SdNotifyStopping)
	if s.Store {
		err = conns.handOver()
	}
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-conns.none():
		log.Info("drained", "closed_hard", 0)
	case <-timer.C:
		n := conns.reset()
		<-conns.none()
		log.Warn("drain timeout reached, connections reset", "closed_hard", n)
	}
	return err
}
