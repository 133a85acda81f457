package guest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// giveMachineID gives the guest an identity of its own, so that systemd takes
// this for neither a first boot (which would run presets) nor an image that
// shares its identity with another (machine-id(5)). A guest on a disk keeps it.
func giveMachineID() error {
	const path = "/etc/machine-id"
	if info, err := os.Stat(upperDir + path); err == nil && info.Size() > 0 {
		return nil
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return fmt.Errorf("make machine id: %w", err)
	}
	// RFC 4122, version 4, as systemd itself would make it.
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	f, err := os.OpenFile(newRoot+path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o444)
	if err != nil {
		return fmt.Errorf("write machine id: %w", err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, hex.EncodeToString(id)); err != nil {
		return fmt.Errorf("write machine id: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write machine id: %w", err)
	}
	return f.Close()
}

// hosts is what an installer would leave, hosts(5): without it a guest, which has no
// name server, does not know localhost.
const hosts = `127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
`

// giveHosts gives the guest an /etc/hosts if its image brings none.
func giveHosts() error {
	f, err := os.OpenFile(newRoot+"/etc/hosts", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write hosts: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteString(hosts); err != nil {
		return fmt.Errorf("write hosts: %w", err)
	}
	return f.Close()
}
