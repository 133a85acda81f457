package conformance

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/scenarios/conformance/internal/probe"
	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
	"example.org/systemd-vmtest/vmtest"
)

// prepared is the machine of all rows.
var prepared = vmtest.Template{
	Name:   "conformance",
	Config: vmtest.Config{OpTimeout: patience},
	Setup: func(t testing.TB, g *vmtest.Guest) {
		g.InstallGo(t, "./cmd/probe", "/usr/local/bin/probe")
	},
}

// patience is how long a test waits for one event in a guest.
const patience = 45 * time.Second

// guest is the guest of a row, with the test that it is for.
type guest struct {
	*vmtest.Guest
	t       *testing.T
	row     row.Row
	differs []string
}

// copyUnits copies the units of the row. systemd has not loaded them yet.
func (g *guest) copyUnits() {
	g.t.Helper()
	g.CopyFS(g.t, os.DirFS(path.Join("testdata", g.row.ID)), "/etc/systemd/system")
}

// start starts units.
func (g *guest) start(units ...string) {
	g.t.Helper()
	for _, u := range units {
		g.Unit(u).Start(g.t)
	}
}

// tryStart starts a unit and returns the result of its job: "done", or why it failed.
func (g *guest) tryStart(unit string) string {
	g.t.Helper()
	err := g.Machine.Unit(unit).Start(g.t.Context())
	if err == nil {
		return "done"
	}
	var failed *vmtest.UnitError
	require.ErrorAs(g.t, err, &failed, "start %s", unit)
	if failed.JobResult != "" {
		return failed.JobResult
	}
	return failed.Err.Error()
}

// startFails asserts that the start of a unit fails, and the ActiveState and Result of the
// unit after it.
func (g *guest) startFails(unit, state string) {
	g.t.Helper()
	g.is("start of "+unit, g.tryStart(unit), "failed")
	g.is("state of "+unit, g.show(unit, "ActiveState", "Result"), state)
}

// badSetting asserts that systemd refuses a unit for its settings, and says why.
func (g *guest) badSetting(unit, why string) {
	g.t.Helper()
	g.is("start of "+unit, g.tryStart(unit), "Unit "+unit+" has a bad unit file setting.")
	g.is("LoadState of "+unit, g.show(unit, "LoadState"), "bad-setting")
	g.logs(unit, why)
}

// waitFailed waits until a unit has failed, and asserts its Result.
func (g *guest) waitFailed(unit, result string) {
	g.t.Helper()
	g.state(unit, "failed")
	g.is("Result of "+unit, g.show(unit, "Result"), result)
}

// fails announces that a unit fails in the row. What a call waits for, or a start that
// fails, needs no announcement.
func (g *guest) fails(unit string) {
	g.t.Helper()
	g.AnnounceFailure(g.t, unit)
}

// errs announces an error that a unit logs, or that is logged about it without its failure.
func (g *guest) errs(unit, text string) {
	g.t.Helper()
	g.AnnounceEntry(g.t, vmtest.JournalQuery{Unit: unit, Contains: text})
}

// show returns the values of properties of a unit as systemctl show prints them, with
// spaces between them.
func (g *guest) show(unit string, properties ...string) string {
	g.t.Helper()
	all := g.Unit(unit).Show(g.t, properties...)
	values := make([]string, len(properties))
	for i, p := range properties {
		values[i] = all[p]
	}
	return strings.Join(values, " ")
}

// stat returns type, mode, owner and group of a file.
func (g *guest) stat(path string) string {
	g.t.Helper()
	return g.run("stat", "--format=%F %a %U %G", path)
}

// state waits until the unit's ActiveState or SubState is state.
func (g *guest) state(unit, state string) {
	g.t.Helper()
	g.Unit(unit).Wait(g.t, state)
}

// instances waits until a template has n instances, and returns their names in order.
func (g *guest) instances(template string, n int) []string {
	g.t.Helper()
	g.Unit(template).WaitInstances(g.t, n)
	names := []string{}
	for _, instance := range g.Unit(template).Instances(g.t) {
		names = append(names, instance.Name)
	}
	require.Len(g.t, names, n, "instances of %s", template)
	return names
}

// log returns the messages of the journal of a unit, and of those about it.
func (g *guest) log(unit string) string {
	g.t.Helper()
	var b strings.Builder
	for _, e := range g.Journal(g.t, vmtest.JournalQuery{Unit: unit}) {
		b.WriteString(e.Message + "\n")
	}
	return b.String()
}

// logs asserts that the journal of a unit has a text.
func (g *guest) logs(unit, text string) {
	g.t.Helper()
	assert.Contains(g.t, g.log(unit), text, "the journal of %s", unit)
}

// said returns the first of some texts that the journal of a unit has, or "".
func (g *guest) said(unit string, texts ...string) string {
	g.t.Helper()
	log := g.log(unit)
	for _, text := range texts {
		if strings.Contains(log, text) {
			return text
		}
	}
	return ""
}

// waitLog waits until the journal of a unit has a text.
func (g *guest) waitLog(unit, text string) {
	g.t.Helper()
	ctx, cancel := vmtest.WithTimeout(g.t.Context(), patience)
	defer cancel()
	_, err := g.Machine.WaitJournal(ctx, vmtest.JournalQuery{Unit: unit}, func(e vmtest.Entry) bool { return strings.Contains(e.Message, text) })
	require.NoError(g.t, err, "wait for %q in the journal of %s", text, unit)
}

// run runs a command that must succeed and returns its output without the last line feed.
func (g *guest) run(args ...string) string {
	g.t.Helper()
	return strings.TrimSuffix(g.Run(g.t, args...), "\n")
}

// runAs is run as another user.
func (g *guest) runAs(user string, args ...string) string {
	g.t.Helper()
	r := g.Exec(g.t, vmtest.Command{Args: args, User: user})
	require.NoError(g.t, r.Err())
	return strings.TrimSuffix(string(r.Stdout), "\n")
}

// exit runs a command and returns what it printed on both streams and its exit status.
func (g *guest) exit(args ...string) (output string, status int) {
	g.t.Helper()
	r := g.Exec(g.t, vmtest.Command{Args: args})
	return string(r.Stdout) + string(r.Stderr), r.ExitCode
}

// exists reports whether a path is there in the guest.
func (g *guest) exists(path string) bool {
	g.t.Helper()
	_, status := g.exit("test", "-e", path)
	return status == 0
}

// client is a connection to the guest.
type client struct {
	*vmtest.Conn
	t  *testing.T
	in *bufio.Reader
}

// dial connects to an address in the guest: a path or @name of AF_UNIX, or host:port.
func (g *guest) dial(address string) *client {
	g.t.Helper()
	c := g.Dial(g.t, network(address), address)
	return &client{c, g.t, bufio.NewReader(c)}
}

// refused reports whether an address in the guest takes no connection: nothing listens on
// it, or its path does not exist.
func (g *guest) refused(address string) bool {
	g.t.Helper()
	c, err := g.Machine.Dial(g.t.Context(), network(address), address)
	if err == nil {
		c.Close()
		return false
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		require.NoError(g.t, err, "connect to %s", address)
	}
	return true
}

func network(address string) string {
	if strings.HasPrefix(address, "/") || strings.HasPrefix(address, "@") {
		return "unix"
	}
	return "tcp"
}

// send sends a line.
func (c *client) send(line string) {
	c.t.Helper()
	_, err := io.WriteString(c, line+"\n")
	require.NoError(c.t, err, "send %q", line)
}

// get receives a line, and returns "EOF" if the service closed or reset the connection.
func (c *client) get() string {
	c.t.Helper()
	line, err := c.in.ReadString('\n')
	var timeout *vmtest.ConnError
	if errors.As(err, &timeout) {
		require.NoError(c.t, err, "receive a line")
	}
	if err != nil {
		return line + "EOF"
	}
	return strings.TrimSuffix(line, "\n")
}

// ask sends a line and returns the answer.
func (c *client) ask(line string) string {
	c.t.Helper()
	c.send(line)
	return c.get()
}

// report returns the report of the probe that serves the client.
func (c *client) report() (r probe.Report) {
	c.t.Helper()
	answer := c.ask("report")
	require.NoError(c.t, json.Unmarshal([]byte(answer), &r), "report %q", answer)
	return r
}
