package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.org/systemd-vmtest/internal/tail"
)

// RecordFile is the name of the file with a directory's Record.
const RecordFile = "evidence.json"

// format is the version of that file's layout.
const format = 1

// Record is what a directory of evidence has for programs. Its texts are safe to print.
type Record struct {
	Test    string `json:"test"`
	Package string `json:"package,omitempty"` // the test binary's, as go list names it
	Guest
	Began   time.Time `json:"began"` // when the machine was started
	Ended   time.Time `json:"ended"` // when the test ended
	Verdict []string  `json:"verdict"`
	Steps   []Step    `json:"steps"`   // the last ones, with the end of what they printed
	Moments []Moment  `json:"moments"` // the last ones of the timeline
	Omitted int       `json:"omitted"` // how many moments come before those
	Files   []File    `json:"files"`   // the other files of the directory
}

// File is a file of a directory of evidence.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// envelope is the content of RecordFile. Its digest shows a change.
type envelope struct {
	Format int             `json:"format"`
	SHA256 string          `json:"sha256"` // of the record, as json.Compact writes it
	Record json.RawMessage `json:"record"`
}

// The most that a Record has of each, so that the file has some MB at most.
const (
	recordSteps   = 500
	recordOutput  = 4 << 10 // bytes of what a step printed
	recordMoments = 3000
	recordText    = 1 << 10 // bytes of any other text
	recordFiles   = 200
	recordMax     = 32 << 20
)

// Record writes the directory's RecordFile: r with the files that Write and Sparse have made.
// It comes last. It is whole even if those have all bytes that a directory has at most.
func (d *Directory) Record(r Record) {
	r.Files = d.files
	r.bound()
	d.writeUpTo(recordMax, RecordFile, func(w io.Writer) error {
		var record, file bytes.Buffer
		if err := encode(&record, r, ""); err != nil {
			return err
		}
		data := bytes.TrimSpace(record.Bytes())
		if err := encode(&file, envelope{format, digest(data), data}, " "); err != nil {
			return err
		}
		if file.Len() > recordMax {
			return fmt.Errorf("it has more than %d bytes", recordMax)
		}
		_, err := w.Write(file.Bytes())
		return err
	})
}

// encode writes v as JSON and a line feed. It leaves <, > and & as they are, which take six
// bytes each otherwise.
func encode(w io.Writer, v any, indent string) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	return e.Encode(v)
}

// bound makes the texts safe to print, and leaves out what is too much.
func (r *Record) bound() {
	r.Omitted += max(0, len(r.Moments)-recordMoments)
	r.Steps = slices.Clone(r.Steps[max(0, len(r.Steps)-recordSteps):])
	r.Moments = slices.Clone(r.Moments[max(0, len(r.Moments)-recordMoments):])
	r.Verdict = slices.Clone(r.Verdict[:min(len(r.Verdict), 50)])
	r.Files = slices.Clone(r.Files[:min(len(r.Files), recordFiles)])
	for _, text := range []*string{&r.Test, &r.Package, &r.Image, &r.Title, &r.Systemd, &r.Kernel, &r.Accel} {
		*text = head(*text)
	}
	for i, line := range r.Verdict {
		r.Verdict[i] = head(line)
	}
	for i := range r.Steps {
		s := &r.Steps[i]
		s.Began, s.Text, s.Result = s.Began.UTC(), head(s.Text), head(s.Result)
		s.Output = tail.Printable(s.Output)
		if over := len(s.Output) - recordOutput; over > 0 {
			s.Output = "…" + strings.ToValidUTF8(s.Output[over:], "")
		}
	}
	for i := range r.Moments {
		m := &r.Moments[i]
		m.At, m.Of, m.Unit, m.Text = m.At.UTC(), head(m.Of), head(m.Unit), head(m.Text)
	}
	r.Began, r.Ended = r.Began.UTC(), r.Ended.UTC()
}

// head returns the beginning of a text, safe to print.
func head(text string) string { return tail.Head(text, recordText) }

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Read returns the record of a directory of evidence. A directory of another format and a
// record that was changed after it was written are errors that name the file.
func Read(dir string) (*Record, error) {
	path := filepath.Join(dir, RecordFile)
	f, _, err := openRegular(path)
	if err != nil {
		return nil, fmt.Errorf("read evidence: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, recordMax+1))
	if err != nil {
		return nil, fmt.Errorf("read evidence: %w", err)
	}
	if len(data) > recordMax {
		return nil, fmt.Errorf("read evidence: %s has more than %d bytes, which no record has", path, recordMax)
	}
	r, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("read evidence: %s %w", path, err)
	}
	return r, nil
}

// openRegular opens a regular file, and returns its size. It follows no link and waits for no
// writer of a named pipe.
func openRegular(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// parse reads the content of a RecordFile. Its errors continue a sentence about the file.
func parse(data []byte) (*Record, error) {
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("is damaged: %w", err)
	}
	if e.Format != format {
		return nil, fmt.Errorf("has format %d, and this vmtest reads format %d: use the vmtest that the test was built with", e.Format, format)
	}
	var record bytes.Buffer
	if err := json.Compact(&record, e.Record); err != nil {
		return nil, fmt.Errorf("is damaged: %w", err)
	}
	if digest(record.Bytes()) != e.SHA256 {
		return nil, fmt.Errorf("was changed after the test had written it")
	}
	r := new(Record)
	if err := json.Unmarshal(record.Bytes(), r); err != nil {
		return nil, fmt.Errorf("is damaged: %w", err)
	}
	for _, f := range r.Files {
		if f.Bytes < 0 || f.Bytes > maxSize {
			return nil, fmt.Errorf("is damaged: a file with %d bytes", f.Bytes)
		}
	}
	r.bound() // it may be another program's
	return r, nil
}

// ReadFile returns up to most bytes of the end of a file of the directory dir, and how many come
// before them. A file that is not as the record says is an error, and so is one with more bytes
// than Write writes.
func (r *Record) ReadFile(dir, name string, most int64) (data []byte, before int64, err error) {
	i := slices.IndexFunc(r.Files, func(f File) bool { return f.Name == name })
	if i < 0 || name != filepath.Base(name) {
		return nil, 0, fmt.Errorf("read evidence: %s has no %s", dir, name)
	}
	path := filepath.Join(dir, name)
	f, size, err := openRegular(path)
	if err != nil {
		return nil, 0, fmt.Errorf("read evidence: %w", err)
	}
	defer f.Close()
	if size != r.Files[i].Bytes {
		return nil, 0, fmt.Errorf("read evidence: %s was changed after the test had written it", path)
	}
	if size > maxFile+int64(len(cutOff)) {
		return nil, 0, fmt.Errorf("read evidence: %s has %d bytes, which no text of the evidence has", path, size)
	}
	h := sha256.New()
	before = max(0, r.Files[i].Bytes-most)
	if _, err := io.CopyN(h, f, before); err != nil {
		return nil, 0, fmt.Errorf("read evidence: %w", err)
	}
	if data, err = io.ReadAll(io.TeeReader(io.LimitReader(f, most), h)); err != nil {
		return nil, 0, fmt.Errorf("read evidence: %w", err)
	}
	if hex.EncodeToString(h.Sum(nil)) != r.Files[i].SHA256 {
		return nil, 0, fmt.Errorf("read evidence: %s was changed after the test had written it", path)
	}
	return data, before, nil
}
