package systemd

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The error for a state that no unit of the type has names the states that are near, or
// all of that type.
func TestStateError(t *testing.T) {
	for _, test := range []struct{ unit, state, want string }{
		{"a.service", "runing", `no service has the state "runing"; nearest: running`},
		{"a.service", "runnnig", `no service has the state "runnnig"; nearest: running`},
		{"a.service", "Active", `no service has the state "Active"; nearest: active`},
		{"a.service", "act", `no service has the state "act"; nearest: activating, active`},
		{"a.socket", "listen", `no socket has the state "listen"; nearest: listening`},
		{"a.socket", "lisetning", `no socket has the state "lisetning"; nearest: listening`},
		{"a.target", "started", `no target has the state "started"; its states: active, dead, inactive`},
		{"a.target", "", `no target has the state ""; its states: active, dead, inactive`},
		{"a.timer", "listening", `no timer has the state "listening"; its states: active, dead, elapsed, failed, inactive, running, waiting`},
		{"a", "active", `"a" is not the name of a unit: it has no type, such as .service`},
	} {
		assert.EqualError(t, checkState(test.unit, test.state), test.want)
	}
	for unitType, states := range unitStates {
		for _, state := range slices.Concat(states.active, states.sub) {
			assert.NoError(t, checkState("a."+unitType, state))
		}
	}
}
