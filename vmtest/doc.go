// Package vmtest tests systemd units on a real systemd, in a virtual machine of the
// test's own.
//
// A test starts a machine, copies units in, and asks systemd about them:
//
//	func TestSocket(t *testing.T) {
//		g := vmtest.Start(t, vmtest.Config{})
//		g.CopyFS(t, os.DirFS("testdata/units"), "/etc/systemd/system")
//		g.EnableNow(t, "demo-echo.socket")
//		g.Unit("demo-echo.socket").Wait(t, "listening")
//		conn := g.Dial(t, "tcp", "127.0.0.1:9091")
//		...
//	}
//
// and runs with go test. The machine is a fork of one that has booted, so it is there in
// well under a second, and it is gone when the test ends. The host needs QEMU. To build an
// image it needs mmdebstrap, squashfs-tools and what these need, and for a [Disk] it needs
// e2fsprogs. The command
//
//	go run example.org/systemd-vmtest/vmtest/cmd/vmtest setup
//
// installs them. Neither KVM nor root is needed.
//
// # Two layers
//
// [Guest] is for tests, [Machine] for tools and for calls that may fail. What can fail is
// a method of both: Guest.X takes a testing.TB first, fails the test with the error, and
// closes what it opened when the test ends; Machine.X takes a context first and returns
// the error. [Guest.Unit] and [Machine.Unit] return handles of a unit in the same way.
// Nothing takes both a testing.TB and a context. Config.OpTimeout bounds the calls of a
// Guest; the context bounds those of a Machine. A test of a failure uses both:
//
//	err := g.Machine.Unit("oneshot.service").Start(t.Context())
//	var failed *vmtest.UnitError
//	if !errors.As(err, &failed) || failed.ExitCode != 3 {
//		t.Errorf("the service did not exit with 3: %v", err)
//	}
//
// A dbus.Conn is that of github.com/coreos/go-systemd/v22/dbus.
//
// Run takes the words of a command that must exit with 0. Exec takes a [Command] that may end
// in any way. Kill cuts the power. Close ends the machine and frees what it holds.
//
// # Errors
//
// errors.As finds the type of an error: *[UnitError] for a unit, *[UnitNameError] for a text
// that names none, *[PropertyError] for a property that the guest's systemd does not have,
// *[UnequalError] for one that is not as expected, *[EntryError] for what the journal lacks
// or should not have, *[ExitError] and *[StartError] for a command, *[VerifyError] for
// findings, *[ConnError] for a read or a write that timed out, *[GuestError] for a guest that
// is gone or does not answer, and *[HostError] for what the host lacks. errors.Is finds
// context.DeadlineExceeded in a call that timed out, [ErrStateUnreachable] in a wait that
// nothing can end, [ErrNoUnit] if a unit does not exist, and syscall.ECONNREFUSED in a Dial
// that was refused.
//
// # The journal, and what is unexpected
//
// At its end a test fails for what went wrong in its guest since the machine began and was
// not announced: a unit that failed, also if the test killed it or Restart= started it again;
// a core dump, a process killed for lack of memory, an oops or a warning of the kernel, a job
// that was dropped because of an ordering cycle; an entry of priority err or worse by or about
// a unit under test. [Machine.Unexpected] has the exact rules. A test that waits for a unit to
// be "failed", or gets a *[UnitError] of one, has announced its failure. Other things are
// announced by
//
//	g.AnnounceFailure(t, "demo.service")
//	g.AnnounceEntry(t, vmtest.JournalQuery{By: "demo.service", Contains: "cannot bind"})
//
// An announcement that does not come true fails the test as well; AllowFailure and AllowEntry
// are for what may come and may not. Config.LogUnexpected logs all of this instead. Guests of
// this module's images print nothing of the kind by themselves, so there is no list of
// exceptions.
//
// The guest sends its journal to the host as it is written, so [Guest.Journal] and
// [Guest.ExpectEntry] run no program in the guest. ExpectEntry is about what has been logged,
// and [Guest.WaitJournal] waits.
//
// # Guests
//
// A guest of Debian has the essential packages, systemd, D-Bus, udev, iproute2, nc, kmod and
// what these need. [Machine.Image] lists the packages. Config.Packages, Config.Debs and
// [Guest.InstallDeb] add packages. For files that are copied in without a package,
// [Guest.ApplyConfig] runs sysusers, tmpfiles and presets. The root file system is writable,
// and what is written is in RAM. There is no network but loopback and those of
// Config.Networks, and no name server; "ip link add lan0 type dummy" makes an interface to bind
// an address to.
//
// # Daemons that connect out
//
// A test is the client of a daemon by [Guest.Dial], and its server by [Guest.Listen], which
// listens inside the guest, and [Guest.ListenPacket] for datagrams:
//
//	backend := g.Listen(t, "tcp", "127.0.0.1:9191")
//	g.EnableNow(t, "proxy.socket")
//	conn, err := backend.Accept()
//
// # Networks
//
// A [Network] joins machines of one test: a switch in the test's process, without a port, an
// address or a privilege on the host. Machines have addresses of IPv4 and IPv6 when they have
// started, and know each other by name; package netstack puts the test itself into the network.
// Here a hostile peer has two connections, and a client is served all the same:
//
//	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
//	networks := []*vmtest.Network{n}
//	server := vmtest.Start(t, vmtest.Config{Hostname: "server", Networks: networks})
//	server.CopyFS(t, os.DirFS("units"), "/etc/systemd/system") // MaxConnectionsPerSource=2
//	server.EnableNow(t, "echo.socket")
//	hostile := netstack.Start(t, n, vmtest.JoinConfig{Name: "hostile"})
//	for range 3 {
//		_, err := hostile.Dial(t.Context(), "tcp", "server:9091")
//		require.NoError(t, err)
//	}
//	server.Unit("echo.socket").WaitProperty(t, "NRefused", 1)
//	client := vmtest.Start(t, vmtest.Config{Hostname: "client", Networks: networks})
//	conn := client.Dial(t, "tcp", "server:9091") // from inside the client
//	_, err := conn.Write([]byte("hello\n"))
//	require.NoError(t, err)
//	line, err := bufio.NewReader(conn).ReadString('\n')
//	require.NoError(t, err)
//	require.Equal(t, "hello\n", line)
//
// [Interface.SetFaults] loses and delays frames, [Guest.SetCable] pulls a cable, and
// [Network.Attach] takes raw frames. A failed test's evidence has a capture of each network.
// A fork in a network costs a fifth more than one without, until its systemd answers. A name
// means IPv4 to Dial on "tcp"; programs of the guest may prefer IPv6.
//
// # Users
//
// [Guest.AddUser] adds a user. A [Command] runs as one with Command.User. The units of a
// user's own systemd, those of systemctl --user, are tested as those of the system, on the
// Guest that [Guest.AsUser] returns:
//
//	u := g.AddUser(t, vmtest.User{Name: "alice"})
//	alice := g.AsUser(t, "alice")
//	alice.CopyFS(t, os.DirFS("units"), u.Home+"/.config/systemd/user")
//	alice.EnableNow(t, "demo.socket") // with ListenStream=%t/demo.sock
//	conn := alice.Dial(t, "unix", fmt.Sprintf("/run/user/%d/demo.sock", u.UID))
//
// A guest with the packages libpam-systemd and dbus-user-session has sessions of logind, by
// "su - alice" or, with openssh-server, over SSH, and a D-Bus for each user.
//
// # Time
//
// [Guest.Advance] lets an hour pass in seconds under emulation, not with KVM, for OnBootSec=,
// OnUnitActiveSec=, watchdogs and timeouts. [Guest.SetClock] sets the wall clock, such as to a
// second before a timer of OnCalendar= elapses, [Guest.StepClock] and [Guest.SlewClock] change
// it by a duration, [Guest.SetTimeZone] the time zone, and with Config.Clock a guest starts at
// a date. All other timers of the guest elapse as well if their time comes. Timeouts of this
// package go by the host's clock.
//
// # Timers
//
// Show of a timer has what it starts (Triggers) and when (NextElapseUSecRealtime). To test
// what it starts, add a drop-in with OnActiveSec=1s, restart the timer, and wait for a line
// in the journal of the service: a service of Type=oneshot is inactive again when it has
// ended. An example of [Unit] tests a timer in this way.
//
// # Packages
//
// Config.Packages adds packages of the distribution to the guest's image, and Config.Debs
// package files. Debian's packages enable and start their units, and so they run when a
// test begins; see Config.NoAutostart. If one of these units fails at boot, so does the boot,
// and the error names it. To test such a package, set NoAutostart and start the unit in the
// test. A newer version in the archive makes no new image by itself; "vmtest image build
// --package NAME IMAGE" does. A packager's test of an upgrade:
//
//	g := vmtest.Start(t, vmtest.Config{Debs: []string{"../mydaemon_1.0_amd64.deb"}})
//	g.Unit("mydaemon.socket").Wait(t, "listening")
//	g.InstallDeb(t, "../mydaemon_1.1_amd64.deb")
//	g.Unit("mydaemon.socket").Wait(t, "listening")
//
// The content of a package file decides whether its image has to be built again. To get
// equal files from equal sources, set SOURCE_DATE_EPOCH for dpkg-deb(1), and for a Go
// program build with -trimpath.
//
// # Versions of systemd
//
// VMTEST_IMAGE=debian-11,debian-14 chooses the images of a run. A test that calls
// [EachImage] runs on each of them, as a subtest with the image's name:
//
//	func TestMyDaemon(t *testing.T) {
//		vmtest.EachImage(t, func(t *testing.T) {
//			g := vmtest.Start(t, vmtest.Config{})
//			g.NeedSystemd(t, 253, "OpenFile=")
//			...
//		})
//	}
//
// [Guest.NeedSystemd] skips it where systemd is too old for what it tests. A test that does not
// call EachImage runs on the first image, and logs that.
//
// # Coverage
//
// VMTEST_COVER=DIRECTORY makes InstallGo build programs with -cover, and collects there what
// go tool covdata reads, also from programs that a Template has installed:
//
//	VMTEST_COVER=$PWD/guests go test -count=1 .
//	go test -count=1 -cover ./... -args -test.gocoverdir=$PWD/unit
//	go tool covdata merge -pcombine -i=guests,unit -o=all
//	go tool covdata percent -i=all
//
// Neither the program's source nor its unit changes, and nothing is added to what the program
// prints. Its counters are in memory that it shares with a process outside of the unit, so they
// are there however it ends: it returns, exits, panics, or is killed by any signal. They come
// to the host when the machine is closed, killed by Kill, rebooted by Reboot or SoftReboot, or
// becomes a snapshot. A guest that ends in another way takes with it what was counted since it
// began, which is printed.
//
// This works in the sandboxes of systemd.exec(5), such as with DynamicUser=,
// ProtectSystem=strict, PrivateTmp=, PrivateNetwork=, PrivateUsers=, RestrictAddressFamilies=none
// and SystemCallFilter=@system-service. If SystemCallFilter= forbids memfd_create(2), which is in
// @ipc, systemd kills the program, or with SystemCallErrorNumber= it runs without counters. A
// unit that does not see the program's own directory, because it binds the program alone to
// another place (BindReadOnlyPaths=), has no counters. Neither has a program that a test copies
// to another place after InstallGo. go build's -coverpkg and -covermode come from GOFLAGS.
//
// # Debugging
//
// Delve (github.com/go-delve/delve) debugs a Go daemon in the guest from the directory of its
// sources, under its unit's own sandbox. In three terminals:
//
//	CGO_ENABLED=0 go install github.com/go-delve/delve/cmd/dlv@latest
//	CGO_ENABLED=0 go build -gcflags='all=-N -l' ./cmd/mydaemon
//	vmtest shell --units ./units --with ./mydaemon:/usr/local/bin/mydaemon --with ~/go/bin/dlv:/usr/local/bin/dlv
//	# systemctl start mydaemon.service
//
//	vmtest ssh-config shell > config
//	ssh -F config -L 2345:127.0.0.1:2345 shell 'dlv attach $(systemctl show -P MainPID mydaemon.service) --headless --listen=127.0.0.1:2345 --accept-multiclient'
//
//	dlv connect 127.0.0.1:2345
//	(dlv) break mydaemon.serve
//	(dlv) continue
//	(dlv) args
//
// Root may trace any process in a guest. A daemon with WatchdogSec= is killed while it is
// stopped, unless "systemctl service-watchdogs no" comes first.
//
// # Environment
//
//	VMTEST_IMAGE          image for a Config without one: a name, or the path of an image
//	                      directory or of a recipe; default debian-13. A list, separated
//	                      by commas, has the images of EachImage; other tests run on the
//	                      first
//	VMTEST_CACHE          absolute path of the directory for images, snapshots and other
//	                      files that are made once; default systemd-vmtest in the user's
//	                      cache directory. It must belong to the user alone
//	VMTEST_SKIP=1         skip tests that need a machine, as go test -short does
//	VMTEST_GUEST          set by "vmtest exec" for tests that run in a guest: they skip those
//	                      that need a machine, too
//	VMTEST_SLOTS          how many tests with machines run at once; default one per core
//	VMTEST_TIMEOUT_SCALE  factor for all timeouts, such as 3; see below
//	VMTEST_EVIDENCE       absolute path of the directory for what failed tests leave; default
//	                      evidence in the cache, or the test's artifacts with go test
//	                      -artifacts. The last 20 are kept, and all of the last hour
//	VMTEST_EVIDENCE_SNAPSHOT=1
//	                      keep the machine of a failed test there, too, for "vmtest resume"
//	VMTEST_KEEP=1         keep the machine of a failed test, see A look at a machine
//	VMTEST_COVER          absolute path of a directory for the coverage of Go programs in
//	                      guests
//	VMTEST_LOG_UNEXPECTED=1
//	                      log what is unexpected in a guest instead of failing its test
//	VMTEST_UNTRIMMED=1    boot the distribution's system with nothing switched off; "vmtest
//	                      trim" lists what other guests leave out
//	VMTEST_ACCEL          kvm, tcg, or auto, the default: KVM where it runs the image's
//	                      kernel
//	VMTEST_AGENT          prebuilt guest agent, for hosts without a go command
//	VMTEST_GO_PREBUILT    directory of prebuilt programs for InstallGo, likewise
//	VMTEST_MIRROR         mirror to build images from, instead of mmdebstrap's default
//	VMTEST_ALLOW_EXPIRED_RELEASE=1
//	                      build from a mirror whose Release file has expired
//
// # Timeouts
//
// Every timeout of this package, default or from a Config, is multiplied by
// $VMTEST_TIMEOUT_SCALE. When one is over, the speed of the host is measured, which takes
// some 0.1 s, and the processor time that the guest got until then is taken into account.
// A slow host stretches the timeout, at most tenfold. The error says how long it was and
// why. [WithTimeout] does the same for a caller's own timeout. The deadline of any other
// context is used as it is.
//
// go test's -timeout cuts every wait, so that 20 s are left for evidence, or a quarter of
// a timeout that is short. Waiting for a slot counts into that time; the error then says how
// long that took.
//
// After a timeout, the guest is examined for some seconds, and the error says what
// answered and what did not: QEMU, systemd, the agent. A guest whose agent does not answer
// is a [*GuestError], with its console.
package vmtest
