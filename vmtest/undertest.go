package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// unitID returns the unit of that name that calls are about.
func (m *Machine) unitID(name string) journal.UnitID {
	if m.user == nil {
		return journal.UnitID{Name: name}
	}
	return journal.UnitID{Name: name, UID: strconv.Itoa(int(m.user.UID))}
}

// anyUser is the UID in the name of a unit of all users.
const anyUser = "*"

// unitKey returns a text for a unit, which a record has as well.
func unitKey(unit journal.UnitID) string {
	if unit.UID == "" {
		return unit.Name
	}
	return unit.UID + "/" + unit.Name
}

// test notes that a unit is under test.
func (a *announced) test(unit journal.UnitID) { a.setTested([]string{unitKey(unit)}) }

// testFile notes that the unit of a file in the guest is under test, if it is a unit file.
func (a *announced) testFile(guestPath string) {
	dir, name := path.Split(path.Clean(guestPath))
	if parent := path.Base(dir); path.Ext(parent) == ".d" { // name is a drop-in
		name = strings.TrimSuffix(parent, ".d")
	}
	if !slices.Contains(systemd.UnitTypes, path.Ext(name)) || !strings.Contains(dir, "/systemd/") {
		return
	}
	unit := journal.UnitID{Name: name}
	if strings.Contains(dir, "/systemd/user/") {
		unit.UID = anyUser
	}
	a.test(unit)
}

// testFS notes that the units of all files that are copied to a directory are under test.
func (a *announced) testFS(fsys fs.FS, guestDir string) {
	_ = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			a.testFile(path.Join(guestDir, name))
		}
		return err // the copy reports it
	})
}

// testHost notes that the units of a file or a directory of the host that is copied are under
// test. The copy gets the path, or goes into a directory there.
func (a *announced) testHost(hostPath, guestPath string) {
	info, err := os.Stat(hostPath)
	if err != nil {
		return // the copy reports it
	}
	for _, to := range []string{guestPath, path.Join(guestPath, filepath.Base(hostPath))} {
		if info.IsDir() {
			a.testFS(os.DirFS(hostPath), to)
		} else {
			a.testFile(to)
		}
	}
}

// testPackage notes that the units of a package are under test.
func (a *announced) testPackage(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.packages = append(a.packages, name)
}

// allTested returns the units and packages under test, for the forks of a snapshot.
func (a *announced) allTested() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := slices.Sorted(maps.Keys(a.tested))
	for _, name := range a.packages {
		list = append(list, packageKey+name)
	}
	return list
}

// packageKey begins what allTested returns for a package.
const packageKey = "package "

// setTested notes what is under test, as allTested returned it.
func (a *announced) setTested(list []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tested == nil {
		a.tested = make(map[string]bool)
	}
	for _, text := range list {
		if name, ok := strings.CutPrefix(text, packageKey); ok {
			a.packages = append(a.packages, name)
		} else {
			a.tested[text] = true
		}
	}
}

// isTested reports whether a unit is under test by one of these names. The caller holds the
// lock.
func (a *announced) isTested(uid string, names ...string) bool {
	uids := []string{uid}
	if uid != "" {
		uids = append(uids, anyUser)
	}
	for _, uid := range uids {
		for _, name := range names {
			if a.tested[unitKey(journal.UnitID{Name: name, UID: uid})] || a.tested[unitKey(journal.UnitID{Name: systemd.TemplateOf(name), UID: uid})] {
				return true
			}
		}
	}
	return false
}

// inspection asks the guest, at most once for each unit, what a verdict needs of it. The zero
// value asks nothing.
type inspection struct {
	ctx     context.Context
	machine *Machine
	// units has the properties of units, nil if the guest does not answer.
	units map[journal.UnitID]map[string]any
	files map[string]bool // of the packages under test; nil is not read yet
	err   error           // the first answer that is missing
}

// lacks keeps the first error.
func (i *inspection) lacks(err error) {
	if i.err == nil && err != nil {
		i.err = fmt.Errorf("look at the units of the journal: %w", err)
	}
}

func (i *inspection) properties(unit journal.UnitID) map[string]any {
	if i.machine == nil {
		return nil
	}
	p, known := i.units[unit]
	if known {
		return p
	}
	units := &i.machine.vm.Units
	if unit.UID != "" {
		uid, err := strconv.ParseUint(unit.UID, 10, 32)
		if err != nil || !slices.Contains(i.machine.vm.Users(), uint32(uid)) {
			return nil
		}
		units = i.machine.vm.UserUnits(uint32(uid))
	}
	p, err := units.Properties(i.ctx, unit.Name)
	if err != nil && !errors.Is(err, ErrNoUnit) { // a unit that is gone has one name
		i.lacks(err)
	}
	if i.units == nil {
		i.units = make(map[journal.UnitID]map[string]any)
	}
	i.units[unit] = p
	return p
}

// names returns all names of a unit.
func (i *inspection) names(unit journal.UnitID) []string {
	names, _ := i.properties(unit)["Names"].([]string)
	return names
}

// packaged reports whether the file of a unit is one of the packages.
func (i *inspection) packaged(unit journal.UnitID, packages []string) bool {
	file, _ := i.properties(unit)["FragmentPath"].(string)
	if file == "" || len(packages) == 0 {
		return false
	}
	if i.files == nil {
		i.files = make(map[string]bool)
		for _, name := range packages {
			// dpkg keeps the list of a package that may be there in two architectures under both.
			for _, list := range []string{name, name + ":" + i.machine.Image().Arch} {
				text, err := i.machine.system().ReadFile(i.ctx, "/var/lib/dpkg/info/"+list+".list")
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					i.lacks(err)
				}
				for line := range strings.Lines(string(text)) {
					i.files[merged(strings.TrimSpace(line))] = true
				}
			}
		}
	}
	return i.files[merged(file)]
}

// merged returns a path as it is where /lib is a link to /usr/lib.
func merged(file string) string {
	if strings.HasPrefix(file, "/lib/") {
		return "/usr" + file
	}
	return file
}
