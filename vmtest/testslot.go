package vmtest

import (
	"context"
	"strings"
	"sync"
	"testing"
)

// testSlots names the tests of this process that hold a slot. A test holds one
// however many machines it starts, and its subtests share it: two tests that each
// hold a slot and wait for a second one would wait for ever.
var testSlots struct {
	mu      sync.Mutex
	holders map[string]bool
}

// holdSlot gives a test a slot until it ends, unless it or a test above it has one.
func holdSlot(ctx context.Context, t testing.TB, config Config) error {
	if holdsSlot(t.Name()) {
		return nil
	}
	ticket, err := acquireSlot(ctx, config)
	if err != nil {
		return err
	}
	setHolder(t.Name(), true)
	t.Cleanup(func() {
		setHolder(t.Name(), false)
		if err := ticket.Close(); err != nil {
			t.Error(err)
		}
	})
	return nil
}

func holdsSlot(test string) bool {
	testSlots.mu.Lock()
	defer testSlots.mu.Unlock()
	for !testSlots.holders[test] {
		slash := strings.LastIndexByte(test, '/')
		if slash < 0 {
			return false
		}
		test = test[:slash]
	}
	return true
}

func setHolder(test string, holds bool) {
	testSlots.mu.Lock()
	defer testSlots.mu.Unlock()
	if testSlots.holders == nil {
		testSlots.holders = make(map[string]bool)
	}
	if holds {
		testSlots.holders[test] = true
	} else {
		delete(testSlots.holders, test)
	}
}
