package vmtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest"
)

// t is the test that runs an example. In a test file of your own it is the parameter of
// the test function.
var t *testing.T

// TestExamples runs every example.
func TestExamples(test *testing.T) {
	for name, example := range map[string]func(){
		"Start":      ExampleStart,
		"Template":   ExampleTemplate,
		"Disk":       ExampleDisk,
		"Unit":       ExampleUnit,
		"Timer":      ExampleUnit_timer,
		"Advance":    ExampleGuest_Advance,
		"UnitError":  ExampleUnitError,
		"Journal":    ExampleGuest_Journal,
		"HTTPClient": ExampleGuest_HTTPClient,
		"Launch":     ExampleLaunch,
	} {
		test.Run(name, func(sub *testing.T) {
			if testing.Short() {
				sub.Skip("needs a virtual machine, which go test -short does not start")
			}
			t = sub
			example()
		})
	}
}

// echoUnits are the units of a socket that starts cat for each connection.
var echoUnits = os.DirFS("../scenarios/testdata/guide")

// A socket unit starts its service for a connection.
func ExampleStart() {
	g := vmtest.Start(t, vmtest.Config{})
	g.CopyFS(t, echoUnits, "/etc/systemd/system")
	g.EnableNow(t, "demo-echo.socket")
	g.Unit("demo-echo.socket").Wait(t, "listening")

	conn := g.Dial(t, "tcp", "127.0.0.1:9091")
	io.WriteString(conn, "hello\n")
	conn.CloseWrite()
	answer, err := io.ReadAll(conn)
	if string(answer) != "hello\n" || err != nil {
		t.Errorf("the service answered %q (%v)", answer, err)
	}
}

// withEcho is a machine in which the socket listens.
var withEcho = vmtest.Template{
	Name: "echo",
	Setup: func(t testing.TB, g *vmtest.Guest) {
		g.CopyFS(t, echoUnits, "/etc/systemd/system")
		g.EnableNow(t, "demo-echo.socket")
	},
}

// Each test gets a fork of a machine that was prepared once, and is prepared again when
// the units change.
func ExampleTemplate() {
	g := withEcho.Start(t)
	if out := g.Run(t, "systemctl", "is-enabled", "demo-echo.socket"); out != "enabled\n" {
		t.Errorf("the socket is %s", out)
	}
}

// A file that was synced survives a loss of power.
func ExampleDisk() {
	config := vmtest.Config{Disk: vmtest.NewDisk(t, 0)}
	g := vmtest.Start(t, config)
	g.WriteFile(t, "/var/lib/state", []byte("kept"), 0o644)
	g.Run(t, "sync")
	g.Kill(t)

	g = vmtest.Start(t, config)
	if data := g.ReadFile(t, "/var/lib/state"); string(data) != "kept" {
		t.Errorf("the file has %q", data)
	}
}

// A unit is asked for its properties.
func ExampleUnit() {
	g := withEcho.Start(t)
	socket := g.Unit("demo-echo.socket")
	socket.Wait(t, "listening")
	shown := socket.Show(t, "Listen", "Accept")
	if shown["Listen"] != "127.0.0.1:9091 (Stream)" || shown["Accept"] != "yes" {
		t.Errorf("the socket has %v", shown)
	}
}

// A timer is asked when it elapses, and is made to elapse now by a drop-in.
func ExampleUnit_timer() {
	g := vmtest.Start(t, vmtest.Config{})
	g.CopyFS(t, os.DirFS("../scenarios/testdata/timer"), "/etc/systemd/system")
	g.EnableNow(t, "backup.timer")
	timer := g.Unit("backup.timer")
	timer.Wait(t, "waiting")
	shown := timer.Show(t, "Triggers", "NextElapseUSecRealtime")
	if shown["Triggers"] != "backup.service" || !strings.Contains(shown["NextElapseUSecRealtime"], " 03:00:00 ") {
		t.Errorf("the timer has %v", shown)
	}

	// The service ends at once, so its journal is what shows that it ran.
	const soon = "[Timer]\nOnCalendar=\nOnActiveSec=1s\nAccuracySec=10ms\n"
	g.Run(t, "mkdir", "/etc/systemd/system/backup.timer.d")
	g.WriteFile(t, "/etc/systemd/system/backup.timer.d/soon.conf", []byte(soon), 0o644)
	g.DaemonReload(t)
	timer.Restart(t)
	g.WaitJournal(t, vmtest.JournalQuery{Unit: "backup.service"}, func(e vmtest.Entry) bool {
		return e.Message == "the backup is written"
	})
}

// An hour passes for a timer of OnBootSec=1h, and the wall clock is set to a second before a
// timer of OnCalendar= elapses: at noon of the last day of February.
func ExampleGuest_Advance() {
	g := vmtest.Start(t, vmtest.Config{Clock: time.Date(2028, 2, 1, 0, 0, 0, 0, time.UTC)})
	g.CopyFS(t, os.DirFS("../scenarios/testdata/clock/hours"), "/etc/systemd/system")
	g.CopyFS(t, os.DirFS("../scenarios/testdata/clock/wall"), "/etc/systemd/system")
	g.DaemonReload(t)
	g.Unit("once.timer").Start(t)
	g.Unit("february.timer").Start(t)

	g.Advance(t, time.Hour)
	g.WaitJournal(t, vmtest.JournalQuery{By: "once.service", Contains: "the hour is over"}, nil)

	g.SetClock(t, time.Date(2028, 2, 29, 11, 59, 59, 0, time.UTC))
	g.WaitJournal(t, vmtest.JournalQuery{By: "february.service", Contains: "february is over"}, nil)
}

// How a service failed is in the fields of the error.
func ExampleUnitError() {
	const check = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'exit 3'\n"
	g := vmtest.Start(t, vmtest.Config{})
	g.WriteFile(t, "/etc/systemd/system/check.service", []byte(check), 0o644)
	err := g.Machine.Unit("check.service").Start(t.Context())
	var failed *vmtest.UnitError
	if !errors.As(err, &failed) || failed.ExitCode != 3 {
		t.Errorf("the service did not exit with 3: %v", err)
	}
}

// What a unit logs is in its journal.
func ExampleGuest_Journal() {
	g := vmtest.Start(t, vmtest.Config{})
	g.Run(t, "systemd-run", "--unit=greet", "--wait", "echo", "good morning")
	g.WaitJournal(t, vmtest.JournalQuery{Unit: "greet.service"}, func(e vmtest.Entry) bool {
		return e.Message == "good morning"
	})
	for _, e := range g.Journal(t, vmtest.JournalQuery{Unit: "greet.service"}) {
		t.Log(e)
	}
}

// An HTTP daemon in the guest is tested with package net/http.
func ExampleGuest_HTTPClient() {
	const (
		units  = "/etc/systemd/system/"
		socket = "[Socket]\nListenStream=127.0.0.1:80\nAccept=yes\n"
		// It answers once it has read the request, which ends with an empty line.
		service = "[Service]\nExecStart=/usr/local/bin/web\nStandardInput=socket\n"
		web     = "#!/bin/sh\nsed -u '/^\r$/q' >/dev/null\nprintf 'HTTP/1.0 200 OK\r\n\r\nhello\n'\n"
	)
	g := vmtest.Start(t, vmtest.Config{})
	g.WriteFile(t, "/usr/local/bin/web", []byte(web), 0o755)
	g.WriteFile(t, units+"web.socket", []byte(socket), 0o644)
	g.WriteFile(t, units+"web@.service", []byte(service), 0o644)
	g.Unit("web.socket").Start(t)
	response, err := g.HTTPClient(t).Get("http://127.0.0.1/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if string(body) != "hello\n" || err != nil {
		t.Errorf("the server answered %q (%v)", body, err)
	}
}

// A tool uses a machine without a test.
func ExampleLaunch() {
	ctx := context.Background()
	m, err := vmtest.Launch(ctx, vmtest.Config{Image: "debian-13"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer m.Close()
	version, err := m.Run(ctx, "systemctl", "--version")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println(strings.Fields(version)[:2]) // [systemd 257]
}
