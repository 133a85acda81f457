// # When a test fails
//
// The log of a failed test has what decides: the units that failed, core dumps, jobs, sockets,
// and the end of the journal, without the lines that the error of the test has shown. A test that
// hangs until go test -timeout is about to kill it prints the same. The last line is the path of a
// directory with more, for each of its guests:
//
//	summary.txt     what the log has
//	journal.txt     the journal since the machine began, as text, and journal.export in the
//	                format that systemd-journal-remote(8) reads
//	console.txt     the end of what the guest wrote to its serial console
//	qemu.txt        QEMU's command line, and the end of what it printed
//	network.txt     the interfaces in networks of the test; what each network carried is
//	                NAME-HOST.pcapng
//	steps.txt       what the test did with the guest: its calls, how long each took, its
//	                commands with the end of their output
//	timeline.txt    those, the changes of the units under test and of those that failed, and
//	                the journal, in the order of their times
//	cores.txt       the processes that dumped core: which signal, in which functions; the
//	                dumps are core-PID. Needs LimitCORE=infinity in the unit, or the package
//	                systemd-coredump.
//	status.txt      systemctl status of the units that failed and of those under test, and
//	                show.txt their properties
//	jobs.txt        systemctl list-jobs; likewise processes.txt (systemd-cgls) and
//	                listening.txt (ss)
//	evidence.json   the verdict, steps and moments for programs, with digests of the files
//	no-machine.txt  why the machine is not in machine/, if it should be; see below
//
// A guest that is gone or does not answer leaves only those up to timeline.txt, and the last two.
// Each file has at most 32 MiB, a dump without its holes, and all at most 128 MiB, without
// machine/ and evidence.json. A file that was cut ends with a note; one that could not be written to
// its end, and a dump that was cut, is named *.part. The directory is for this user alone. It has
// nothing of the host's environment. It has what the test gave to commands, and what the guest
// logged.
//
// go test -json also has, of tests that passed too, the image of each guest and how long its
// fork took (testing.TB.Attr). "vmtest report" makes a page of HTML and JUnit XML of that:
//
//	go test -json ./... | vmtest report --html report.html --junit junit.xml
//
// With VMTEST_EVIDENCE_SNAPSHOT=1 the directory also has the machine itself, as it was when
// the test ended, in machine/: a snapshot and all that the machine booted from. That is some
// 150 MB of memory, and the image, by hard links where the directory is in the cache's file
// system. The log says how much. Then
//
//	vmtest resume DIRECTORY                opens a shell in it
//	vmtest resume --again DIRECTORY        runs the last command that the test began before it
//	                                       failed, next to what that did in the test
//	vmtest resume DIRECTORY -- COMMAND     runs any other
//
// as often as wanted, each time from the same moment; [OpenFailure] does the same in Go. A copy
// of the directory will do, on any host with the same build of QEMU. QEMU loads what is in it,
// so resume only directories from people you trust. A guest that is gone, whose agent does not
// answer, that has a Config.Disk, or that VMTEST_KEEP keeps, is not saved; no-machine.txt and
// the log say why. The networks of a machine are not saved. The last ten machines stay; with go test
// -artifacts, all of them.
//
// # A look at a machine
//
// VMTEST_KEEP=1, or the flag -vmtest.keep of a test binary, keeps the machine of a test that
// has failed, after its evidence, and prints at the terminal how to get into it:
//
//	VMTEST_KEEP=1 go test -v -timeout=0 -run TestMyDaemon
//	vmtest shell --attach TestMyDaemon
//
// The test goes on, and fails, after "vmtest release TestMyDaemon", when the guest has gone, or
// when the time of the test binary is up but for evidence. It does at Ctrl-C, too, but go test
// without -v then prints no report. A test with two machines keeps one after the other. A kept
// machine has its slot, so other tests may wait for it. [Guest.Shell] stops a test anywhere for a shell.
//
// While a machine is kept, or a shell of Guest.Shell or "vmtest shell" is open, other processes
// of this user reach it by "vmtest shell --attach", "vmtest run --attach", and OpenSSH's programs,
// though the guest has neither a network nor an SSH server:
//
//	vmtest ssh-config > config
//	scp -F config ./mydaemon TestMyDaemon:/usr/local/bin/
//	ssh -F config -L 8080:127.0.0.1:8080 TestMyDaemon journalctl -f
package vmtest
