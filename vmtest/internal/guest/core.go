package guest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
)

// CoreVerb is the first argument of an agent that describes core dumps, whose paths follow. It
// prints a Core for each, in JSON, a line each. So the host reads no file that a guest made up.
const CoreVerb = "core"

// Core describes a core dump: which process, which signal, and where.
type Core struct {
	Path   string
	Name   string // of the process
	PID    int
	Signal int
	Frames []string // of the thread that crashed, the innermost first, as far as they are known
	Err    string   // why no more is known, or ""
}

// describeCores prints the descriptions of dumps.
func describeCores(w io.Writer, paths []string) error {
	out := json.NewEncoder(w)
	for _, path := range paths {
		core := Core{Path: path}
		if err := core.read(); err != nil {
			core.Err = err.Error()
		}
		if err := out.Encode(core); err != nil {
			return err
		}
	}
	return nil
}

// Types of notes in a dump (linux/elf.h).
const (
	noteStatus  = 1          // NT_PRSTATUS, the first one of the thread that crashed
	noteProcess = 3          // NT_PRPSINFO
	noteFile    = 0x46494c45 // NT_FILE
)

// maxNotes bounds the notes of a dump that are read, in bytes.
const maxNotes = 4 << 20

// registers has the places of registers in a struct elf_prstatus, by architecture.
var registers = map[string]struct{ pc, fp int }{
	"amd64": {112 + 16*8, 112 + 4*8}, // rip, rbp
	"arm64": {112 + 32*8, 112 + 29*8},
}

// read reads the dump at c.Path.
func (c *Core) read() (err error) {
	defer func() {
		if r := recover(); r != nil { // package debug/elf does not promise to bear any file
			err = fmt.Errorf("read core dump: %v", r)
		}
	}()
	f, err := elf.Open(c.Path)
	if err != nil {
		return fmt.Errorf("read core dump: %w", err)
	}
	defer f.Close()
	place, known := registers[runtime.GOARCH]
	if f.Type != elf.ET_CORE || f.Class != elf.ELFCLASS64 || !known {
		return errors.New("read core dump: no dump of this architecture")
	}
	status, process, files, err := notes(f)
	if err != nil {
		return err
	}
	if len(status) < place.pc+8 {
		return errors.New("read core dump: it has no registers")
	}
	c.Signal = int(f.ByteOrder.Uint16(status[12:]))
	c.PID = int(f.ByteOrder.Uint32(status[32:]))
	if len(process) >= 56 {
		name, _, _ := bytes.Cut(process[40:56], []byte{0})
		c.Name = string(name)
	}
	stack := walk{f, mappings(f, files)}
	c.Frames = stack.frames(f.ByteOrder.Uint64(status[place.pc:]), f.ByteOrder.Uint64(status[place.fp:]))
	return nil
}

// notes returns the first note of each type.
func notes(f *elf.File) (status, process, files []byte, err error) {
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(p.Open(), maxNotes))
		if err != nil {
			return nil, nil, nil, fmt.Errorf("read core dump: %w", err)
		}
		for len(data) >= 12 {
			nameLen, size, kind := aligned(f.ByteOrder.Uint32(data)), f.ByteOrder.Uint32(data[4:]), f.ByteOrder.Uint32(data[8:])
			end := 12 + nameLen + aligned(size)
			if end > uint64(len(data)) {
				break
			}
			desc := data[12+nameLen : 12+nameLen+uint64(size)]
			switch {
			case kind == noteStatus && status == nil:
				status = desc
			case kind == noteProcess && process == nil:
				process = desc
			case kind == noteFile && files == nil:
				files = desc
			}
			data = data[end:]
		}
	}
	return status, process, files, nil
}

// aligned returns the room that n bytes of a note take.
func aligned(n uint32) uint64 { return (uint64(n) + 3) &^ 3 }

// mapping is a part of a file that the process could execute.
type mapping struct {
	start, end, offset uint64
	path               string
}

// mappings returns what the process could execute, by the note of its files.
func mappings(f *elf.File, files []byte) (all []mapping) {
	if len(files) < 16 {
		return nil
	}
	n, page := f.ByteOrder.Uint64(files), f.ByteOrder.Uint64(files[8:])
	if n > uint64(len(files))/24 || 16+n*24 > uint64(len(files)) {
		return nil
	}
	names := strings.Split(string(files[16+n*24:]), "\x00")
	for i := range n {
		entry := files[16+i*24:]
		m := mapping{start: f.ByteOrder.Uint64(entry), end: f.ByteOrder.Uint64(entry[8:]), offset: f.ByteOrder.Uint64(entry[16:]) * page}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && p.Vaddr == m.start && i < uint64(len(names)) {
				m.path = names[i]
				all = append(all, m)
			}
		}
	}
	return all
}

// walk goes up a stack in a dump.
type walk struct {
	core *elf.File
	code []mapping
}

// maxFrames bounds a backtrace.
const maxFrames = 20

// frames returns the functions that a thread was in. Those above the innermost are found by
// frame pointers, which a program may be built without: then there are none, or they end early.
func (w walk) frames(pc, fp uint64) (list []string) {
	for i := range maxFrames {
		m := w.of(pc)
		if m == nil {
			if i == 0 {
				list = append(list, fmt.Sprintf("%#x, which is no code", pc))
			}
			return list
		}
		look := pc
		if i > 0 {
			look-- // into the call, and not after it
		}
		list = append(list, m.name(look, pc))
		var caller [16]byte // its frame pointer, and where it goes on
		if !w.readAt(caller[:], fp) {
			return list
		}
		up := binary.LittleEndian.Uint64(caller[:])
		pc = binary.LittleEndian.Uint64(caller[8:])
		if up != 0 && up <= fp { // a stack grows down
			return list
		}
		fp = up
	}
	return list
}

func (w walk) of(pc uint64) *mapping {
	for i := range w.code {
		if m := &w.code[i]; m.start <= pc && pc < m.end {
			return m
		}
	}
	return nil
}

// readAt reads the process's memory, and reports whether the dump has it.
func (w walk) readAt(p []byte, address uint64) bool {
	for _, s := range w.core.Progs {
		if s.Type == elf.PT_LOAD && s.Vaddr <= address && address-s.Vaddr < s.Filesz {
			_, err := s.ReadAt(p, int64(address-s.Vaddr))
			return err == nil
		}
	}
	return false
}
