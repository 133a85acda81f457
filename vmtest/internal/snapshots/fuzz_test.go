package snapshots

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func FuzzInfo(f *testing.F) {
	whole, err := json.Marshal(Info{Format: Format, Key: keyA, Image: "debian", Memory: 512, Created: time.Unix(0, 0)})
	require.NoError(f, err)
	f.Add(whole)
	f.Add(whole[:20])
	f.Add([]byte(`{"format": 1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := parseInfo(data)
		if err != nil {
			assert.Zero(t, info)
			return
		}
		assert.Equal(t, Format, info.Format)
	})
}

func FuzzKeys(f *testing.F) {
	f.Add(keyA)
	f.Add(".new-" + keyA + "-1")
	f.Add(keyA + ".lock")
	f.Fuzz(func(t *testing.T, name string) {
		s := &Store{dir: t.TempDir()}
		if m := leftovers.FindStringSubmatch(name); m != nil {
			assert.Regexp(t, keys, m[1]+m[2])
			assert.False(t, keys.MatchString(name), "a snapshot that is taken for a leftover")
		}
		if err := s.Remove(name); err == nil {
			t.Errorf("removed %q from an empty store", name)
		}
	})
}
