// Package inputs records what a prepared machine was made of, and finds what has changed
// since.
package inputs

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Input is something that a prepared machine depends on.
type Input struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Digest string `json:"digest"` // SHA-256 of the content; "" matches nothing

	// Of a program.
	Dir  string `json:"dir,omitempty"`  // the working directory of the build
	Arch string `json:"arch,omitempty"` // as in runtime.GOARCH
}

// Kind says what the name of an Input is.
type Kind string

const (
	Path    Kind = "path"    // an absolute path: a file, or a directory with all in it
	Env     Kind = "env"     // a variable of the environment
	Program Kind = "program" // a Go command, as InstallGo takes it
	Given   Kind = "given"   // known to the caller, such as "the test binary"
	Unseen  Kind = "unseen"  // what cannot be compared, so that it always counts as changed
)

// Record collects inputs while a machine is prepared. The zero value is ready. A nil
// *Record collects nothing.
type Record struct {
	mu   sync.Mutex
	list []Input
}

// Add adds an input, unless it is in the record.
func (r *Record) Add(in Input) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.list, in) {
		r.list = append(r.list, in)
	}
}

// All returns the inputs in the order in which they were added.
func (r *Record) All() []Input {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// Env returns the value of a variable of the environment, and adds the variable.
func (r *Record) Env(name string) string {
	value, set := os.LookupEnv(name)
	r.Add(Input{Kind: Env, Name: name, Digest: envDigest(value, set)})
	return value
}

// Path adds a file or a directory that use reads, and calls use. If something changes
// there meanwhile, it is not known what was read, so the input counts as changed.
func (r *Record) Path(path string, use func() error) error {
	if r == nil {
		return use()
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	before := look(path)
	if err := use(); err != nil {
		return err
	}
	in := Input{Kind: Path, Name: path, Digest: before.content}
	if look(path) != before {
		in.Digest = ""
	}
	r.Add(in)
	return nil
}

// Digest returns the SHA-256 of data in hexadecimal.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// envDigest tells a variable that is not set from an empty one. A value may be a secret,
// so no record has it.
func envDigest(value string, set bool) string {
	if !set {
		return "unset"
	}
	return Digest([]byte(value))
}
