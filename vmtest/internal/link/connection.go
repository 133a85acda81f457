package link

import (
	"context"
	"errors"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// HostKey returns the key by which the agent identifies itself, which Connection's client
// sees as well. The agent makes one at each boot, and forks of a machine share it.
func (c *Client) HostKey() ssh.PublicKey { return c.key }

// Connection opens a stream inside the session on which the agent serves SSH as it does for
// Dial: for a process that has no session of its own, such as ssh(1). ctx bounds the opening
// alone. The caller closes the stream, which ends what its client started.
func (c *Client) Connection(ctx context.Context) (*Conn, error) {
	t := &target{network: "ssh", kind: wire.ConnectionChannel, local: nameAddr{"ssh", "host"}, remote: nameAddr{"ssh", "agent"}}
	return c.connect(ctx, t)
}

// connect opens the channel of a target and connects it to a Conn.
func (c *Client) connect(ctx context.Context, t *target) (*Conn, error) {
	ch, requests, err := c.open(ctx, t.kind, t.payload)
	if err != nil {
		return nil, t.opError("dial", refusal(err))
	}
	conn, err := bridge(c, ch, requests, t)
	if err != nil {
		go ssh.DiscardRequests(requests)
		ch.Close()
		return nil, t.opError("dial", err)
	}
	return conn, nil
}

// refusal returns err with the guest's own text and error number, if the agent has refused a
// channel.
func refusal(err error) error {
	if refused := (*ssh.OpenChannelError)(nil); errors.As(err, &refused) {
		return &guestError{refused.Message, wire.Errno(refused.Reason)}
	}
	return err
}
