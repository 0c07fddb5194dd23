package component

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/resource"
)

// Parse reads one component file, with its defaults filled in.
func Parse(data []byte) (File, error) {
	var f File
	if err := resource.Decode(data, &f); err != nil {
		return File{}, err
	}
	return f.Defaulted(), nil
}

// LoadDir reads every .yaml, .yml and .json file of a directory, in the order of names. It returns the files that are right, and an
// error that lists all mistakes of the others, so that one bad file does not take the components of the others away. A directory that
// does not exist has no files.
func LoadDir(dir string) ([]File, error) {
	files, problems, err := loadAll(os.DirFS(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "read component files of %s: %w", dir, err)
	}
	return files, fault.Problems("component files of "+dir, problems)
}

func loadAll(dir fs.FS) ([]File, []fault.Problem, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, nil, err
	}
	var files []File
	var problems []fault.Problem
	from := map[string]string{}
	for _, e := range entries {
		if ext := path.Ext(e.Name()); e.IsDir() || ext != ".yaml" && ext != ".yml" && ext != ".json" {
			continue
		}
		f, err := loadOne(dir, e.Name())
		switch first, twice := from[f.Component]; {
		case err != nil:
			problems = append(problems, within(e.Name(), err)...)
		case twice:
			problems = append(problems, fault.Problem{Path: e.Name(), Message: fmt.Sprintf("component %q stands in %s already", f.Component, first)})
		default:
			from[f.Component] = e.Name()
			files = append(files, f)
		}
	}
	return files, problems, nil
}

// within moves the problems of one file under its name.
func within(name string, err error) []fault.Problem {
	problems := fault.ProblemsOf(err)
	if len(problems) == 0 {
		return []fault.Problem{{Path: name, Message: err.Error()}}
	}
	moved := make([]fault.Problem, 0, len(problems))
	for _, p := range problems {
		where := name
		if p.Path != "" {
			where += ": " + p.Path
		}
		moved = append(moved, fault.Problem{Path: where, Message: p.Message, Line: p.Line})
	}
	return moved
}

func loadOne(dir fs.FS, name string) (file File, err error) {
	info, err := fs.Stat(dir, name)
	if err != nil {
		return File{}, err
	}
	if !info.Mode().IsRegular() {
		return File{}, errors.New("is not a file")
	}
	const othersWrite = 0o002
	if runtime.GOOS != "windows" && info.Mode().Perm()&othersWrite != 0 {
		return File{}, errors.New("everybody may write to it, and the agent runs its commands; take that right away (chmod o-w)")
	}
	f, err := dir.Open(name)
	if err != nil {
		return File{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, resource.MaxSize+1))
	if err != nil {
		return File{}, err
	}
	return Parse(data)
}
