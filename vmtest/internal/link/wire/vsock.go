package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// LocalCID is the CID of the machine itself (VMADDR_CID_LOCAL in vsock(7)).
const LocalCID = 1

// ParseVsock parses an address of vsock(7), CID:PORT or PORT alone, which is one of the machine
// itself.
func ParseVsock(address string) (cid, port uint32, err error) {
	cid = LocalCID
	text := address
	if before, after, ok := strings.Cut(address, ":"); ok {
		n, err := strconv.ParseUint(before, 10, 32)
		if err != nil {
			return 0, 0, fmt.Errorf("parse vsock address %q: the CID is not a number below 2^32: want CID:PORT or PORT", address)
		}
		cid, text = uint32(n), after
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("parse vsock address %q: the port is not a number below 2^32: want CID:PORT or PORT", address)
	}
	return cid, uint32(n), nil
}
