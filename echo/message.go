package echo

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// maxMessage is the longest message, in bytes, of a datagram or a sequential packet
// socket that is sent back.
const maxMessage = 64 << 10

var errMessageTooLong = fmt.Errorf("message of more than %d bytes", maxMessage)

// copyMessages sends back each message of a sequential packet socket as one message,
// and returns how many bytes these had. An empty message ends it, because recv(2)
// reports one and the end of the connection in the same way.
func copyMessages(conn net.Conn) (total int64, err error) {
	buf := make([]byte, maxMessage+1)
	for {
		n, err := conn.Read(buf)
		switch {
		case errors.Is(err, io.EOF):
			return total, nil
		case err != nil:
			return total, err
		case n > maxMessage:
			return total, errMessageTooLong
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return total, err
		}
		total += int64(n)
	}
}
