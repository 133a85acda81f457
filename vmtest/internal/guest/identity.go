package guest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// giveMachineID gives the guest a machine ID of its own (machine-id(5)). Without one
// systemd would take the boot for a first boot and run presets. A guest on a disk
// keeps its ID.
func (i initrd) giveMachineID() error {
	const path = "/etc/machine-id"
	if info, err := os.Stat(i.path(upperDir + path)); err == nil && info.Size() > 0 {
		return nil
	}
	id := make([]byte, 16)
	rand.Read(id) // never fails (crypto/rand)
	// RFC 4122, version 4, as systemd itself would make it.
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	f, err := os.OpenFile(i.path(newRoot+path), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o444)
	if err != nil {
		return fmt.Errorf("write machine ID: %w", err)
	}
	_, err = fmt.Fprintln(f, hex.EncodeToString(id))
	if err == nil {
		err = f.Sync() // a disk must not lose it with the power
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write machine ID: %w", err)
	}
	return nil
}

// hosts is what an installer writes (hosts(5)). A guest has no name server, so
// without it localhost has no address.
const hosts = `127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
`

// giveHosts gives the guest an /etc/hosts if its image has none.
func (i initrd) giveHosts() error {
	f, err := os.OpenFile(i.path(newRoot+"/etc/hosts"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write hosts: %w", err)
	}
	_, err = f.WriteString(hosts)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write hosts: %w", err)
	}
	return nil
}
