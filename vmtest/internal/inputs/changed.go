package inputs

import (
	"fmt"
	"os"
	"sync"
)

// Sight finds out what inputs are like now.
type Sight struct {
	// Given has the digests of the inputs of that kind, by name.
	Given map[string]string
	// Program returns what the Digest of a program would be. It may be called on several
	// goroutines at once.
	Program func(Input) (string, error)
}

// Changed returns what of the list is not as it was, and "" if all is. The first such
// input counts.
func (s Sight) Changed(list []Input) string {
	said := make([]string, len(list))
	var builds sync.WaitGroup
	for i, in := range list {
		if in.Kind == Program {
			builds.Go(func() { said[i] = s.change(in) })
		} else {
			said[i] = s.change(in)
		}
	}
	builds.Wait()
	for _, text := range said {
		if text != "" {
			return text
		}
	}
	return ""
}

// change returns how one input has changed.
func (s Sight) change(in Input) string {
	switch in.Kind {
	case Path:
		now := look(in.Name).content
		switch {
		case in.Digest == "":
			return in.Name + " changed while it was read"
		case now == "":
			return in.Name + " cannot be read now"
		case now == absent && in.Digest != absent:
			return in.Name + " is gone"
		case now != in.Digest:
			return in.Name + " has changed"
		}
	case Env:
		value, set := os.LookupEnv(in.Name)
		switch {
		case envDigest(value, set) == in.Digest:
		case !set:
			return "$" + in.Name + " is not set now"
		default:
			return "$" + in.Name + " has changed"
		}
	case Program:
		now, err := s.Program(in)
		switch {
		case err != nil:
			return fmt.Sprintf("program %s cannot be built now", in.Name)
		case now != in.Digest:
			return fmt.Sprintf("program %s has changed", in.Name)
		}
	case Given:
		if now, ok := s.Given[in.Name]; !ok || now != in.Digest {
			return in.Name + " has changed"
		}
	default:
		return fmt.Sprintf("%s cannot be compared", in.Name)
	}
	return ""
}
