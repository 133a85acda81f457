package vmtest

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/passwd"
	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// entryOf returns an entry in the journal export format.
func entryOf(number, fields string) string {
	return "__CURSOR=s=1;i=" + number + ";b=b\n__REALTIME_TIMESTAMP=1\n__MONOTONIC_TIMESTAMP=1\n_BOOT_ID=b\n" + fields + "\n"
}

const (
	failedUnit   = "MESSAGE_ID=d9b373ed55a64feb8242e02dbe79a49c\n_PID=1\nUNIT=demo@1.service\nUNIT_RESULT=timeout\n"
	saysFailed   = "MESSAGE=Failed to start demo\nPRIORITY=3\n_PID=1\nUNIT=demo@1.service\n"
	dumpedCore   = "MESSAGE=x dumped core\nMESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1\n_UID=0\nCOREDUMP_UNIT=demo@1.service\n"
	usersFailure = "MESSAGE_ID=d9b373ed55a64feb8242e02dbe79a49c\n_SYSTEMD_USER_UNIT=init.scope\n_UID=1000\nUSER_UNIT=demo@1.service\nUNIT_RESULT=timeout\n"
	usersError   = "MESSAGE=cannot serve\nPRIORITY=3\n_SYSTEMD_UNIT=user@1000.service\n_SYSTEMD_USER_UNIT=demo@1.service\n_UID=1000\nSYSLOG_IDENTIFIER=demo\n"
	ownError     = "MESSAGE=cannot serve\nPRIORITY=3\n_SYSTEMD_UNIT=demo@1.service\nSYSLOG_IDENTIFIER=demo\n"
)

// withJournal returns a machine with these entries in its journal.
func withJournal(t *testing.T, entries ...string) *Machine {
	t.Helper()
	m := newMachine(vm.Of(nil, nil, "amd64"), Config{})
	for i, e := range entries {
		_, err := m.vm.Journal().Write([]byte(entryOf(string(rune('1'+i)), e)))
		require.NoError(t, err)
	}
	return m
}

func TestUnexpected(t *testing.T) {
	demo := journal.UnitID{Name: "demo@1.service"}
	alice := func(m *Machine) *Machine {
		as := *m
		as.user = &passwd.User{Name: "alice", UID: 1000}
		return &as
	}
	const (
		dumped   = "a process dumped core: 00:00:00.000 : x dumped core"
		failed   = "demo@1.service failed once: timeout"
		logged   = "demo@1.service logged an error: 00:00:00.000 demo: cannot serve"
		about    = "demo@1.service has an error: 00:00:00.000 [1]: Failed to start demo"
		noEntry  = "the journal does not have an entry by demo@1.service, as AnnounceEntry announced"
		noFailed = "other.service did not fail, as AnnounceFailure announced"
	)
	for name, test := range map[string]struct {
		entries  []string
		announce func(*Machine)
		want     []string
	}{
		"nothing":              {nil, nil, nil},
		"not under test":       {[]string{failedUnit, saysFailed, ownError}, nil, []string{failed}},
		"named":                {[]string{ownError}, func(m *Machine) { m.Unit("demo@1.service") }, []string{logged}},
		"its template's file":  {[]string{ownError}, func(m *Machine) { m.announced.testFile("/etc/systemd/system/demo@.service") }, []string{logged}},
		"another file":         {[]string{ownError}, func(m *Machine) { m.announced.testFile("/srv/demo@.service") }, nil},
		"a failure":            {[]string{failedUnit, saysFailed}, func(m *Machine) { m.AnnounceFailure("demo@1.service") }, nil},
		"a template's failure": {[]string{failedUnit, saysFailed}, func(m *Machine) { m.AnnounceFailure("demo@.service") }, nil},
		"a failure that was seen": {[]string{failedUnit, saysFailed, ownError}, func(m *Machine) {
			m.Unit("demo@1.service")
			m.announced.seeFailure(demo)
		}, []string{logged}},
		"seen, and did not fail": {[]string{saysFailed}, func(m *Machine) { m.Unit("demo@1.service"); m.announced.seeFailure(demo) }, nil},
		"no failure":             {nil, func(m *Machine) { m.AnnounceFailure("other.service") }, []string{noFailed}},
		"an entry": {[]string{ownError}, func(m *Machine) {
			m.Unit("demo@1.service")
			m.AnnounceEntry(JournalQuery{By: "demo@1.service", Contains: "cannot"})
		}, nil},
		"a core dump of a unit that fails":  {[]string{dumpedCore, failedUnit}, func(m *Machine) { m.AnnounceFailure("demo@1.service") }, []string{dumped}},
		"a failure that may come, and does": {[]string{failedUnit, saysFailed}, func(m *Machine) { m.AllowFailure("demo@1.service") }, nil},
		"a failure that may come":           {nil, func(m *Machine) { m.AllowFailure("demo@1.service") }, nil},
		"an entry that may come, and does": {[]string{ownError}, func(m *Machine) {
			m.Unit("demo@1.service")
			m.AllowEntry(JournalQuery{By: "demo@1.service"})
		}, nil},
		"an entry that may come":    {nil, func(m *Machine) { m.AllowEntry(JournalQuery{By: "demo@1.service"}) }, nil},
		"a user's unit of the name": {[]string{failedUnit}, func(m *Machine) { alice(m).AnnounceFailure("demo@1.service") }, []string{failed, "demo@1.service of user 1000 did not fail, as AnnounceFailure announced"}},
		"a user's failure":          {[]string{usersFailure}, func(m *Machine) { alice(m).AnnounceFailure("demo@1.service") }, nil},
		"the system's unit":         {[]string{usersFailure, usersError}, func(m *Machine) { m.Unit("demo@1.service"); m.AllowFailure("demo@1.service") }, []string{"demo@1.service of user 1000 failed once: timeout"}},
		"a user's error":            {[]string{usersError}, func(m *Machine) { alice(m).Unit("demo@1.service") }, []string{"demo@1.service of user 1000 logged an error: 00:00:00.000 demo: cannot serve"}},
		"all users' file":           {[]string{usersError}, func(m *Machine) { m.announced.testFile("/etc/systemd/user/demo@.service") }, []string{"demo@1.service of user 1000 logged an error: 00:00:00.000 demo: cannot serve"}},
		"another entry": {[]string{saysFailed}, func(m *Machine) {
			m.Unit("demo@1.service")
			m.AnnounceEntry(JournalQuery{By: "demo@1.service"})
		}, []string{about, noEntry}},
	} {
		m := withJournal(t, test.entries...)
		if test.announce != nil {
			test.announce(m)
		}
		assert.Equal(t, test.want, m.unexpected(new(inspection), true), name)
	}
	assert.Error(t, newMachine(new(vm.Machine), Config{}).AnnounceFailure("demo"))
	assert.Error(t, newMachine(new(vm.Machine), Config{}).AnnounceEntry(JournalQuery{Unit: "demo"}))
	m := withJournal(t, "MESSAGE=x\n")
	_, err := m.vm.Journal().Write([]byte(entryOf("9", "MESSAGE=y\n")))
	require.NoError(t, err)
	assert.Equal(t, []string{"the journal is not whole: 7 entries before 00:00:00.000 : y did not arrive"}, m.unexpected(new(inspection), true))
}

func TestUnitsUnderTest(t *testing.T) {
	var a announced
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, fstest.MapFS{"all/g.service": {}, "all/g.socket.d/h.conf": {}, "one/i.path": {}}))
	a.testHost(dir+"/all", "/etc/systemd/system")
	a.testHost(dir+"/one/i.path", "/etc/systemd/system/")
	a.testHost(dir+"/one/i.path", "/etc/systemd/system/j.path")
	for _, unit := range []string{"g.service", "g.socket", "i.path", "j.path"} {
		assert.True(t, a.isTested("", unit), unit)
	}
	a.testFS(fstest.MapFS{"a.service": {}, "b.socket.d/c.conf": {}, "d/e.timer": {}}, "/etc/systemd/system")
	a.testFS(fstest.MapFS{"f.service": {}}, "/srv")
	for unit, want := range map[string]bool{"a.service": true, "e.timer": true, "c.conf": false, "f.service": false, "b.socket": true} {
		assert.Equal(t, want, a.isTested("", unit), unit)
	}
	a.testFile("/home/a/.config/systemd/user/k.service")
	assert.True(t, a.isTested("1000", "x.service", "k.service"))
	assert.False(t, a.isTested("", "k.service"))
	a.testPackage("p")
	var fork announced
	fork.setTested(a.allTested())
	assert.Equal(t, a.tested, fork.tested)
	assert.Equal(t, []string{"p"}, fork.packages)
	of := func(announced, unit string, names ...string) bool {
		return announcedFailure{unit: journal.UnitID{Name: announced}}.of(journal.UnitID{Name: unit}, names)
	}
	assert.True(t, of("a@.service", "a@x@y.z.service"))
	assert.False(t, of("b.service", "a.service"))
	assert.True(t, of("b.service", "a.service", "a.service", "b.service"))
	assert.True(t, of("a.service", "a.service"))
}
