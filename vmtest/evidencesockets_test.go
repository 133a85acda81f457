package vmtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestListenersFirst(t *testing.T) {
	const header = "Netid State     Recv-Q Send-Q  Local Address:Port  Peer Address:Port Process\n"
	sorted := []string{
		header,
		"udp   UNCONN    0      0          127.0.0.1:9091       0.0.0.0:*     users:((\"demo\",pid=9,fd=4))\n",
		"tcp   LISTEN    0      4096       127.0.0.1:9091       0.0.0.0:*     users:((\"systemd\",pid=1,fd=34))\n",
		"u_str LISTEN    0      4096       /run/demo.sock 5     * 0           users:((\"systemd\",pid=1,fd=35))\n",
		"u_dgr UNCONN    0      4096       @demo 5              * 0           users:((\"systemd\",pid=1,fd=36))\n",
		"tcp   ESTAB     0      0          127.0.0.1:9091       127.0.0.1:40000\n",
		"u_str ESTAB     0      0          * 6                  * 7           users:((\"demo\",pid=9,fd=5))\n",
		"u_str LISTEN    0      4096       /run/systemd/private 5  * 0        users:((\"systemd\",pid=1,fd=29))\n",
		"u_str ESTAB     0      0          /run/systemd/private 8  * 9        users:((\"systemd\",pid=1,fd=10))\n",
		"nl    UNCONN    0      0          0:0                  *\n",
	}
	out := header
	for _, i := range []int{9, 8, 7, 6, 5, 3, 4, 1, 2} {
		out += sorted[i]
	}
	assert.Equal(t, strings.Join(sorted, ""), listenersFirst(out))
	assert.Equal(t, "ss: no such file\n", listenersFirst("ss: no such file\n"))
}
