package link_test

import (
	"runtime/metrics"
	"time"
)

// watchHeap samples the live heap until the function it returns is called.
func watchHeap() (peak func() uint64) {
	stop, result := make(chan struct{}), make(chan uint64)
	go func() {
		var top uint64
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			top = max(top, liveHeap())
			select {
			case <-tick.C:
			case <-stop:
				result <- top
				return
			}
		}
	}()
	return func() uint64 { close(stop); return <-result }
}

// liveHeap returns the size of what the last collection left. What is allocated beyond
// that depends on when the collector runs.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
