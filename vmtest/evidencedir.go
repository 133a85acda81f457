package vmtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/evidence"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// logEvidence logs what decides about the failure of a test with a machine, and keeps the
// rest in a directory, whose path is the last line.
func logEvidence(t testing.TB, m *Machine) {
	t.Helper()
	t.Log(evidenceOf(t, m))
}

// evidenceOf is logEvidence, but returns the text.
func evidenceOf(t testing.TB, m *Machine) string {
	summary := summarize(context.Background(), m)
	text := summary.without(m.shown)
	dir, err := makeEvidence(t)
	if err != nil {
		return fmt.Sprintf("%s\nno evidence is kept: %v", text, err)
	}
	ctx, cancel := evidenceTime(context.Background())
	defer cancel()
	moments := m.fillEvidence(ctx, dir, summary)
	m.recordEvidence(dir, t.Name(), summary, moments)
	t.Attr(evidence.AttrEvidence, dir.Path())
	if err := dir.Err(); err != nil {
		text += "\nthe evidence is not whole: " + tail.Printable(err.Error())
	}
	text += m.keepMachine(dir, t.Name(), summary) // last, because it ends the machine
	return text + "\nevidence: " + dir.Path()
}

// makeEvidence makes the directory for a test: below the test's artifacts with go test
// -artifacts, and else in evidence.Place.
func makeEvidence(t testing.TB) (*evidence.Directory, error) {
	if f := flag.Lookup("test.artifacts"); f != nil && f.Value.String() == "true" {
		return evidence.Make(t.ArtifactDir(), t.Name(), time.Now())
	}
	place, err := evidence.Place()
	if err != nil {
		return nil, err
	}
	return evidence.Make(place, t.Name(), time.Now())
}

// fillEvidence writes the files of a directory of evidence, and returns the moments of the
// timeline. What the host has comes first. Only a guest that answers is asked for more.
func (m *Machine) fillEvidence(ctx context.Context, dir *evidence.Directory, summary *summary) []evidence.Moment {
	dir.Text("summary.txt", summary.String())
	entries, _ := m.vm.Journal().Since(m.vm.Origin(), journalKept)
	entries = slices.DeleteFunc(entries, journal.OfSync)
	dir.Write("journal.export", func(w io.Writer) error { return m.vm.Journal().Export(w, m.vm.Origin()) })
	dir.Text("journal.txt", linesOf(entries, journalLine)...)
	dir.Write("console.txt", func(w io.Writer) error { _, err := w.Write(m.Console()); return err })
	args, stderr := m.vm.QEMU()
	dir.Text("qemu.txt", strings.Join(args, "\n\t"), stderr)
	interfaces := m.nics.evidence()
	dir.Text("network.txt", linesOf(interfaces, (*Interface).evidence)...)
	for _, i := range interfaces {
		dir.Write(i.Name+"-"+i.Host+".pcapng", i.network.sw.WriteCapture)
	}
	steps := m.steps.All()
	dir.Text("steps.txt", linesOf(steps, evidence.Step.String)...)
	moments := momentsOf(m.byGuest(steps), entries, m.changes(entries))
	dir.Text("timeline.txt", evidence.Timeline(moments)...)
	if !summary.answers {
		return moments
	}
	names := coreNames(summary.cores)
	dir.Text("cores.txt", linesOf(summary.cores, func(c guest.Core) string { return coreText(c, names) })...)
	units := m.unitsOfEvidence(entries)
	for _, file := range []struct {
		name string
		args []string
	}{
		{"status.txt", append([]string{"systemctl", "status", "--no-pager", "--full", "--lines=20", "--"}, units...)},
		{"show.txt", append([]string{"systemctl", "show", "--no-pager", "--"}, units...)},
		{"jobs.txt", []string{"systemctl", "list-jobs", "--no-pager", "--full"}},
		{"processes.txt", []string{"systemd-cgls", "--no-pager", "--full"}},
	} {
		if len(units) == 0 && slices.Contains(file.args, "--") || !summary.pid1 && file.args[0] == "systemctl" {
			continue
		}
		dir.Write(file.name, func(w io.Writer) error { return m.printTo(ctx, w, file.args) })
	}
	dir.Write("listening.txt", func(w io.Writer) error { return m.printSockets(ctx, w) })
	m.coreFiles(ctx, dir, summary.cores) // last, because they are large
	return moments
}

// journalKept is the most entries that the text of a journal has.
const journalKept = 100_000

// printTo runs a command as root and writes what it prints, for people to read. How the
// command ends does not matter: systemctl status exits with 3 for a unit that has failed.
func (m *Machine) printTo(ctx context.Context, w io.Writer, args []string) error {
	system := *m.system()
	system.steps = nil // this is no step of the test
	_, err := system.Exec(ctx, Command{Args: args, Stdout: w, Stderr: w})
	if errors.As(err, new(*StartError)) { // such as ss in a guest without it
		_, err = fmt.Fprintln(w, err)
	}
	return public(err)
}

// output runs a command as root, for a program to read: it writes the standard output alone.
// A command that does not exit with 0 is an error, which has the end of its standard error.
func (m *Machine) output(ctx context.Context, stdout io.Writer, args []string) error {
	system := *m.system()
	system.steps = nil // this is no step of the test
	return system.runTo(ctx, args, stdout)
}

// unitsOfEvidence returns the units that have failed, and those under test of the system.
// A template has no state.
func (m *Machine) unitsOfEvidence(entries []journal.Entry) []string {
	var names []string
	for _, f := range journal.Failures(entries) {
		if f.Unit.UID == "" {
			names = append(names, f.Unit.Name)
		}
	}
	for _, name := range m.announced.allTested() {
		if !strings.ContainsAny(name, "/ ") && !systemd.IsTemplate(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// journalLine returns an entry with the guest's time, safe to print.
func journalLine(e journal.Entry) string {
	return e.Time.UTC().Format("2006-01-02T15:04:05.000000Z") + "  " + untimed(e)
}

// untimed returns an entry in one line that does not begin with its time, safe to print.
func untimed(e journal.Entry) string {
	_, text, _ := strings.Cut(e.String(), " ")
	return text
}
