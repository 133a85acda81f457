package vm

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/boot"
)

// standInName is the name under which package qemu looks for QEMU, and under which this
// test binary plays its process.
const standInName = "qemu-system-x86_64"

func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case standInName:
		if len(os.Args) == 2 && os.Args[1] == "--version" {
			fmt.Println(os.Getenv(standInVersion))
			os.Exit(0)
		}
		os.Exit(standIn(os.Args))
	case leaverName:
		leave(os.Args)
	}
	os.Exit(m.Run())
}

// standInVersion is the variable that has what it prints of its version.
const standInVersion = "VMTEST_STAND_IN_VERSION"

// leaverName is the name under which this test binary closes QEMU's streams and goes on.
const leaverName = "qemu-leaver"

// inherited finds the streams among QEMU's arguments.
var inherited = regexp.MustCompile(`^socket,id=(qmp|link|journal|systemd|console),fd=(\d+)$`)

// inheritedBy returns the file descriptors of those streams.
func inheritedBy(args []string) map[string]int {
	fds := map[string]int{}
	for _, arg := range args {
		if found := inherited.FindStringSubmatch(arg); found != nil {
			fds[found[1]], _ = strconv.Atoi(found[2])
		}
	}
	return fds
}

// leave writes to each stream, closes all and waits to be killed.
func leave(args []string) {
	for _, fd := range inheritedBy(args) {
		unix.Write(fd, []byte("x\n"))
		unix.Close(fd)
	}
	for {
		unix.Pause()
	}
}

// standIn is the process that stands in for QEMU. It passes the streams that it has
// inherited to the test, which plays QEMU and the guest, and exits with the status that
// the test sends.
func standIn(args []string) int {
	conn, err := net.Dial("unix", filepath.Join(filepath.Dir(args[0]), "socket"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 100
	}
	fds := inheritedBy(args)
	hello, err := json.Marshal(args)
	if err == nil {
		_, _, err = conn.(*net.UnixConn).WriteMsgUnix(hello, unix.UnixRights(fds["qmp"], fds["link"], fds["journal"], fds["console"], fds["systemd"]), nil)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	var last struct {
		Status int
		Stderr string
	}
	if err == nil {
		err = json.NewDecoder(conn).Decode(&last)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 100
	}
	fmt.Fprint(os.Stderr, last.Stderr)
	return last.Status
}

// fakeHost plays all QEMUs that the test starts.
type fakeHost struct {
	t        *testing.T
	machines chan *fakeMachine

	// prepare, if not nil, changes a machine before it begins.
	prepare func(*fakeMachine)

	mu      sync.Mutex
	stopped *fakeSession // of the machine that was stopped last
	entries []string     // of its journal
}

func (h *fakeHost) save(s fakeSession, entries []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped, h.entries = &s, entries
}

func (h *fakeHost) logged() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.entries
}

func (h *fakeHost) saved() *fakeSession {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stopped
}

// newFakeHost makes package qemu start stand-ins until the test ends.
func newFakeHost(t *testing.T) *fakeHost {
	t.Helper()
	dir, err := os.MkdirTemp("", "vm") // short, for the path of a socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(self, filepath.Join(dir, standInName)))
	t.Setenv("PATH", dir)
	t.Setenv("VMTEST_CACHE", filepath.Join(dir, "cache"))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"})
	require.NoError(t, err)
	h := &fakeHost{t: t, machines: make(chan *fakeMachine, 16)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			m := h.receive(conn)
			h.mu.Lock()
			prepare := h.prepare
			h.mu.Unlock()
			if prepare != nil {
				prepare(m)
			}
			h.machines <- m
			t.Cleanup(m.leave)
			go m.run()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-served
	})
	return h
}

// receive takes over the streams of a stand-in.
func (h *fakeHost) receive(control *net.UnixConn) *fakeMachine {
	data, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(5*4))
	n, oobn, _, _, err := control.ReadMsgUnix(data, oob)
	assert.NoError(h.t, err)
	m := newFakeMachine(h, control)
	assert.NoError(h.t, json.Unmarshal(data[:n], &m.args))
	files := receivedFiles(h.t, oob[:oobn])
	if assert.Len(h.t, files, 5) {
		m.monitor, m.link = streamOf(h.t, files[0]), streamOf(h.t, files[1])
		m.journal.conn, m.console = streamOf(h.t, files[2]), streamOf(h.t, files[3])
		m.pid1Port = streamOf(h.t, files[4])
	}
	return m
}

// receivedFiles returns the files that came with a message.
func receivedFiles(t *testing.T, oob []byte) []*os.File {
	if len(oob) == 0 {
		return nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	assert.NoError(t, err)
	var files []*os.File
	for _, msg := range msgs {
		fds, err := unix.ParseUnixRights(&msg)
		assert.NoError(t, err)
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files
}

// streamOf returns a socket as a connection, and closes f.
func streamOf(t *testing.T, f *os.File) *net.UnixConn {
	defer f.Close()
	conn, err := net.FileConn(f)
	if !assert.NoError(t, err) {
		return nil
	}
	return conn.(*net.UnixConn)
}

// someFiles are of an image without content.
func someFiles() *boot.Files {
	return &boot.Files{Image: &images.Image{Manifest: images.Manifest{Name: "debian-13", Arch: "amd64"}}}
}

// someSpec describes a machine with little memory.
func someSpec(t *testing.T) Spec {
	t.Helper()
	files := someFiles()
	for _, f := range []**os.File{&files.Kernel, &files.Root, &files.Initrd} {
		null, err := os.Open(os.DevNull)
		require.NoError(t, err)
		t.Cleanup(func() { null.Close() })
		*f = null
	}
	return Spec{Files: files, Memory: 1, CPUs: 1, Instance: Instance{BootTimeout: testTimeout}}
}
