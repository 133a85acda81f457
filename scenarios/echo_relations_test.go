package scenarios

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What depends on another value of the same unit does so in the shipped units.
func TestEchoUnitRelations(t *testing.T) {
	for topic, units := range shipped {
		for name := range units {
			value := map[string]string{}
			for _, d := range directives(t, topic, name) {
				value[d.Name] = d.Value
			}
			drain := regexp.MustCompile(`--drain-timeout=(\S+)`).FindStringSubmatch(value["ExecStart"])
			if drain == nil {
				continue
			}
			assert.Greater(t, duration(t, value["TimeoutStopSec"]), duration(t, drain[1]),
				"%s/%s: TimeoutStopSec= must outlast --drain-timeout", topic, name)
			if most, ok := value["FileDescriptorStoreMax"]; ok {
				assert.Contains(t, value["ExecStart"], fmt.Sprintf("--store --max-connections=%s", most),
					"%s/%s: FileDescriptorStoreMax= must allow for --max-connections", topic, name)
			}
		}
	}
}

func duration(t testing.TB, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}
