package held

import (
	"fmt"
	"path/filepath"
	"strings"
)

// SSHConfig returns a block of ssh_config(5) for a machine. proxy are the words of a command
// that connects its standard streams to the machine.
//
// The agent's key is known from the session of the holder, so ssh checks it. A guest is not
// trusted, so nothing of the host is forwarded to it unless the command line asks for that.
func (i Info) SSHConfig(proxy ...string) string {
	words := make([]string, len(proxy))
	for n, word := range proxy {
		words[n] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return fmt.Sprintf(`# %s, held by process %d
Host %[3]s
	User root
	ProxyCommand %[4]s
	HostKeyAlias %[3]s
	UserKnownHostsFile "%[5]s"
	GlobalKnownHostsFile none
	StrictHostKeyChecking yes
	UpdateHostKeys no
	PreferredAuthentications none
	ForwardAgent no
	ForwardX11 no
`, i.Image, i.PID, i.Name, percents(strings.Join(words, " ")), percents(filepath.Join(i.Dir, keyFile)))
}

// percents keeps ssh from replacing what follows a percent sign (ssh_config(5), TOKENS).
func percents(text string) string { return strings.ReplaceAll(text, "%", "%%") }
