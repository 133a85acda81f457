package inputs

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
)

// FS adds the files of fsys, which use reads, and calls use. It supports the file systems of
// os.DirFS, and those that are data of the program: embed.FS, fstest.MapFS, and fs.Sub of
// all these. Any other is Unseen.
func (r *Record) FS(fsys fs.FS, use func() error) error {
	if r == nil {
		return use()
	}
	switch path, known := hostPath(fsys); {
	case !known:
		r.Add(Input{Kind: Unseen, Name: fmt.Sprintf("a %T", fsys)})
		return use()
	case path != "":
		return r.Path(path, use)
	}
	return use()
}

// hostPath returns the directory that fsys reads, or "" if fsys is data of the program.
func hostPath(fsys fs.FS) (path string, known bool) {
	if fsys == nil {
		return "", false
	}
	return hostPathOf(reflect.ValueOf(fsys))
}

// hostPathOf tells types by their names, because most have none that is exported. A type
// that gets another name in a later release of Go is unknown.
func hostPathOf(v reflect.Value) (path string, known bool) {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	switch v.Type().PkgPath() + "." + v.Type().Name() {
	case "os.dirFS":
		return v.String(), true
	case "embed.FS", "testing/fstest.MapFS", "testing/fstest.noSub": // the last is in a Sub of a MapFS
		return "", true
	case "io/fs.subFS":
		of, dir := v.FieldByName("fsys"), v.FieldByName("dir")
		if of.Kind() != reflect.Interface || of.IsNil() || dir.Kind() != reflect.String {
			return "", false
		}
		if path, known = hostPathOf(of.Elem()); path != "" {
			path = filepath.Join(path, dir.String())
		}
		return path, known
	}
	return "", false
}
