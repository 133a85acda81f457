package images

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"

	"example.org/systemd-vmtest/internal/host"
)

// stamp records the identities of a verified image's files. As long as these stay the
// same, a start need not hash the files.
type stamp struct {
	Dir   string                   `json:"dir"`  // of the image
	Seal  string                   `json:"seal"` // of the manifest that the files matched
	Files map[string]host.Identity `json:"files"`
}

func newStamp(dir string, m Manifest) stamp {
	return stamp{Dir: dir, Seal: m.Seal, Files: map[string]host.Identity{}}
}

func (s stamp) equal(t stamp) bool {
	return s.Dir == t.Dir && s.Seal == t.Seal && maps.Equal(s.Files, t.Files)
}

// readStamp returns an empty stamp if there is none or it cannot be read. Then every
// file is hashed, which is always right.
func readStamp(path string) stamp {
	b, err := os.ReadFile(path)
	if err != nil {
		return stamp{}
	}
	return parseStamp(b)
}

func parseStamp(b []byte) stamp {
	var s stamp
	if json.Unmarshal(b, &s) != nil {
		return stamp{}
	}
	return s
}

// write replaces the stamp at path. The caller holds the image's lock.
func (s stamp) write(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode stamp: %w", err)
	}
	if err := os.WriteFile(path+newSuffix, b, 0o600); err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	if err := os.Rename(path+newSuffix, path); err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	return nil
}
