package guest

import (
	"debug/elf"
	"debug/gosym"
	"fmt"
	"path/filepath"
)

// name names the function of an address, or the place in its file. pc is what is printed.
func (m *mapping) name(look, pc uint64) string {
	place := fmt.Sprintf("%s+%#x", m.path, pc-m.start+m.offset)
	f, err := elf.Open(m.path)
	if err != nil {
		return place
	}
	defer f.Close()
	at := look - m.start + m.offset // in the file
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || at < p.Off || at-p.Off >= p.Filesz {
			continue
		}
		address := at - p.Off + p.Vaddr
		if text := goFunction(f, address); text != "" {
			return text + " of " + m.path
		}
		if name, start := symbol(f, address); name != "" {
			return fmt.Sprintf("%s+%#x of %s", name, address-start+(pc-look), m.path)
		}
	}
	return place
}

// goFunction returns the function and line of an address in a Go program, which has them
// although it is stripped.
func goFunction(f *elf.File, address uint64) string {
	section, text := f.Section(".gopclntab"), f.Section(".text")
	if section == nil || text == nil {
		return ""
	}
	data, err := section.Data()
	if err != nil {
		return ""
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return ""
	}
	file, line, fn := table.PCToLine(address)
	if fn == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s:%d)", fn.Name, filepath.Base(file), line)
}

// symbol returns the function of an address and where it begins.
func symbol(f *elf.File, address uint64) (name string, start uint64) {
	symbols, err := f.Symbols()
	if err != nil || len(symbols) == 0 {
		symbols, _ = f.DynamicSymbols()
	}
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Value <= address && address < s.Value+s.Size {
			return s.Name, s.Value
		}
	}
	return "", 0
}
