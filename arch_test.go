package firebreak_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/firebreak-dev/firebreak/"

// floors is the house, from the ground up. A package imports only packages of floors below its own; on its own floor
// only its parent directory. A package that is not named stands on the floor of the nearest parent that is.
var floors = [][]string{
	// The words of everybody: what errors, time and the wire are. These and the domain are for both wings.
	{"api", "internal/clock", "internal/domain/fault", "internal/fulltest"},
	{
		"internal/domain/blame", "internal/domain/bootguard", "internal/domain/breaker", "internal/domain/calendar", "internal/domain/evidence", "internal/domain/fleet",
		"internal/resource", "internal/chart", "plans",
	},
	{"internal/domain/plan", "internal/domain/launch"},
	{"internal/domain/release"},

	// Decisions: values in, values out.
	{"internal/domain/rollout", "internal/domain/install", "internal/domain/trust"},

	// Artifacts out of others: both wings need it, and it does I/O on readers only. What went wrong, written down: values in, documents out.
	{"internal/delta", "internal/postmortem"},

	// The host's wing: the operating system, then what is built on it, then the guard and the loop.
	{"internal/endpoint/disk", "internal/endpoint/component", "internal/endpoint/process"},
	{"internal/endpoint/slots", "internal/endpoint/journal"},
	{
		"internal/endpoint/identity", "internal/endpoint/uplink", "internal/endpoint/fetch", "internal/endpoint/consumer",
		"internal/endpoint/installer", "internal/endpoint/posture", "internal/endpoint/guard", "internal/endpoint/launcher",
		"internal/endpoint/probe/exec", "internal/endpoint/probe/http", "internal/endpoint/probe/loaded", "internal/endpoint/probe/restarts",
		"internal/endpoint/probe/tcp", "internal/endpoint/probe/unit",
	},
	{"internal/endpoint/installer/files", "internal/endpoint/probe"},
	{"internal/endpoint/installer/deb", "internal/endpoint/installer/exec"},
	{"internal/endpoint/agent"},
	{"internal/endpoint/command"},

	// The control plane's wing: storage, then the shells round the decisions, then HTTP, then the one that knows everybody.
	{
		"internal/control/store", "internal/control/blob", "internal/control/notify", "internal/control/ca", "internal/control/token",
		"internal/control/registry", "internal/control/problem", "internal/control/gate", "internal/control/admission", "internal/control/cells", "internal/control/metrics", "internal/control/health",
	},
	{"internal/control/repository", "internal/control/engine", "internal/control/ingest", "internal/control/roots", "internal/control/live"},
	{"internal/control/replica", "internal/control/server", "internal/control/web", "internal/control/backup"},
	{"internal/control/doctor", "internal/control/app"},

	// The operator's side, and what runs both wings.
	{"client", "internal/publisher", "internal/sim"},
	{"internal/demo", "internal/e2e", "internal/vm", "internal/bench", "internal/torture", "internal/browser"},
	{"internal/cli"},
	{"cmd/firebreak", "cmd/firebreak-agent", "cmd/firebreak-guard"},
}

// pure is all of the standard library that a package of the domain may import: nothing that reads a clock, a file or an
// environment, opens a socket, starts a goroutine, logs or draws random numbers. .golangci.yml has the same list.
var pure = strings.Fields(`cmp encoding/json errors fmt iter maps math math/bits net/url slices sort strconv strings time
	unicode unicode/utf8`)

// impure are the exceptions, and why. An entry is a prefix if it ends in a slash.
var impure = map[string][]string{
	// A digest is a value: hashing bytes one was given is arithmetic.
	"internal/domain/release": {"crypto/sha256", "encoding/hex"},
	// The zones of the world come with the program, so that every machine knows them.
	"internal/domain/calendar": {"time/tzdata"},
	// Verifying signatures on bytes one was given, at a time one was given, is arithmetic too; api has what is signed.
	// Strict decoding needs reflect and io.EOF; the envelope library asks for a context and never waits on it.
	"internal/domain/trust": {
		"bytes", "context", "crypto", "crypto/", "encoding", "encoding/", "io", "reflect", module + "api",
		"github.com/secure-systems-lab/go-securesystemslib/", "github.com/theupdateframework/go-tuf/v2/metadata",
		"github.com/theupdateframework/go-tuf/v2/metadata/",
	},
}

// vague are names that say nothing about what is inside.
var vague = strings.Fields("util utils common helper helpers type types model models manager managers misc shared")

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for dir, p := range read(t) {
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		if !strings.HasPrefix(p.doc, want) {
			t.Errorf("%s: package comment: got %.40q, want it to begin with %q", dir, p.doc, want)
		}
		for _, name := range append(p.files, path.Base(dir)) {
			if slices.Contains(vague, strings.TrimSuffix(name, ".go")) {
				t.Errorf("%s: %s: the name says nothing; name it after its subject", dir, name)
			}
		}
	}
}

func TestImportsGoDown(t *testing.T) {
	t.Parallel()
	for dir, p := range read(t) {
		own := floorOf(dir)
		if own < 0 && dir != "." && !isExample(dir) {
			t.Errorf("%s has no floor: give it one in the table of this test, and a line in ARCHITECTURE.md", dir)
			continue
		}
		for imported, file := range p.imports {
			target, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			sideways := isForTests(dir) || strings.HasPrefix(dir, target+"/")
			switch other := floorOf(target); {
			case isExample(dir):
				if !strings.HasPrefix(target, dir+"/") {
					t.Errorf("%s imports %s: an example is what a stranger would write, without our packages", file, target)
				}
			case isExample(target):
				t.Errorf("%s imports %s: nothing depends on an example", file, target)
			case other > own || other == own && !sideways:
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down, or sideways to the own parent only",
					file, own, target, other)
			case isForTests(target) && !isForTests(dir):
				t.Errorf("%s imports %s: only tests import a package for tests", file, target)
			}
		}
	}
}

// The wings meet in api alone, in tests too: what needs both is tested from a floor above both.
func TestWingsDoNotMeet(t *testing.T) {
	t.Parallel()
	const control, endpoint = "internal/control/", "internal/endpoint/"
	for dir, p := range read(t) {
		for _, imports := range []map[string]string{p.imports, p.testImports} {
			for imported, file := range imports {
				target := strings.TrimPrefix(imported, module)
				if strings.HasPrefix(dir, control) && strings.HasPrefix(target, endpoint) ||
					strings.HasPrefix(dir, endpoint) && strings.HasPrefix(target, control) {
					t.Errorf("%s imports %s: the wings meet in api only", file, target)
				}
			}
		}
	}
}

func TestDomainIsPure(t *testing.T) {
	t.Parallel()
	const domain = "internal/domain/"
	for dir, p := range read(t) {
		if !strings.HasPrefix(dir, domain) || isForTests(dir) {
			continue
		}
		for imported, file := range p.imports {
			excepted := slices.ContainsFunc(impure[dir], func(entry string) bool {
				return imported == entry || strings.HasSuffix(entry, "/") && strings.HasPrefix(imported, entry)
			})
			if !excepted && !slices.Contains(pure, imported) && !strings.HasPrefix(imported, module+domain) {
				t.Errorf("%s imports %s: decisions are made of values only", file, imported)
			}
		}
	}
}

// A row without a package is a promise that was not kept or a wall that was moved.
func TestFloorsStandInTheTree(t *testing.T) {
	t.Parallel()
	packages := read(t)
	for dir := range impure {
		if packages[dir] == nil {
			t.Errorf("%s has exceptions but does not exist", dir)
		}
	}
	for _, dir := range slices.Concat(floors...) {
		inhabited := packages[dir] != nil || slices.ContainsFunc(slices.Collect(maps.Keys(packages)),
			func(other string) bool { return strings.HasPrefix(other, dir+"/") })
		if !inhabited {
			t.Errorf("%s has a floor but does not exist: take it out of the table", dir)
		}
	}
}

func TestTheMapIsTrue(t *testing.T) {
	t.Parallel()
	const name, maxLines = "ARCHITECTURE.md", 200
	text := slurp(t, name)
	if lines := strings.Count(text, "\n"); lines > maxLines {
		t.Errorf("%s: got %d lines, want at most %d", name, lines, maxLines)
	}
	named := pathsIn(text)
	for dir := range read(t) {
		if dir != "." && path.Dir(path.Dir(dir)) != "examples" && !slices.Contains(named, dir) {
			t.Errorf("%s does not name %s", name, dir)
		}
	}
}

func TestDocumentsNameWhatExists(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"} {
		for _, where := range pathsIn(slurp(t, name)) {
			if found, err := filepath.Glob(filepath.FromSlash(where)); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which does not exist", name, where)
			}
		}
	}
}

// pathsIn finds the words of a text that are paths of this repository, which may hold asterisks.
func pathsIn(text string) []string {
	tops := strings.Fields("api client cmd docs examples internal plans scripts")
	var paths []string
	for _, word := range regexp.MustCompile(`[\w.*/-]+`).FindAllString(text, -1) {
		word = strings.TrimRight(strings.TrimPrefix(word, "./"), "*./-")
		top, _, below := strings.Cut(word, "/")
		if slices.Contains(tops, top) && (below || top == "api" || top == "client" || top == "plans") {
			paths = append(paths, word)
		}
	}
	return paths
}

// The walks lead from name to name: each name in them must be declared somewhere.
func TestTheWalksCanBeFollowed(t *testing.T) {
	t.Parallel()
	_, walks, found := strings.Cut(slurp(t, "ARCHITECTURE.md"), "## Four walks")
	if !found {
		t.Fatal("ARCHITECTURE.md has no walks")
	}
	declared := declarations(t)
	names := regexp.MustCompile("`([A-Za-z][\\w.]*)`").FindAllStringSubmatch(walks, -1)
	if len(names) < 20 {
		t.Errorf("got %d names in the walks, want at least 20 to follow", len(names))
	}
	for _, name := range names {
		last := name[1][strings.LastIndex(name[1], ".")+1:]
		if !declared[last] {
			t.Errorf("ARCHITECTURE.md's walks name %s, which is declared nowhere", name[1])
		}
	}
}

// declarations are the names of all functions, methods, types, fields and constants of the house.
func declarations(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for dir, p := range read(t) {
		for _, file := range p.files {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(filepath.FromSlash(dir), file), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					names[n.Name.Name] = true
				case *ast.TypeSpec:
					names[n.Name.Name] = true
				case *ast.ValueSpec:
					for _, name := range n.Names {
						names[name.Name] = true
					}
				case *ast.Field:
					for _, name := range n.Names {
						names[name.Name] = true
					}
				}
				return true
			})
		}
	}
	return names
}

func TestMakefileIsShortAndExplained(t *testing.T) {
	t.Parallel()
	const maxLines = 60
	lines := strings.Split(strings.TrimSuffix(slurp(t, "Makefile"), "\n"), "\n")
	if len(lines) > maxLines {
		t.Errorf("Makefile: got %d lines, want at most %d", len(lines), maxLines)
	}
	target := regexp.MustCompile(`^[a-z][\w-]*:`)
	for i, line := range lines {
		if target.MatchString(line) && !strings.Contains(line, " ## ") {
			t.Errorf("Makefile:%d: %s has no help: end the line with ## and what it does", i+1, line)
		}
		if strings.HasPrefix(line, "\t") && i > 0 && strings.HasPrefix(lines[i-1], "\t") {
			t.Errorf("Makefile:%d: a target is one command; put more into scripts/", i+1)
		}
	}
}

// source is one package as its files tell it, for every operating system at once.
type source struct {
	name, doc            string
	files                []string
	imports, testImports map[string]string // import path -> a file that has it
}

// read parses the heads of all Go files of the repository. Reading the tree itself, rather than asking the go command
// about it, covers the files of every platform and lets the test cache see what the result depends on.
func read(t *testing.T) map[string]*source {
	t.Helper()
	all := map[string]*source{}
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		hidden := file != "." && strings.HasPrefix(entry.Name(), ".")
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (hidden || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(file, ".go"):
			return nil
		}
		return add(all, filepath.ToSlash(file))
	})
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(all, func(_ string, p *source) bool { return p.name == "" }) // nothing but tests
	return all
}

func add(all map[string]*source, file string) error {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	dir := path.Dir(file)
	if all[dir] == nil {
		all[dir] = &source{imports: map[string]string{}, testImports: map[string]string{}}
	}
	p, isTest := all[dir], strings.HasSuffix(file, "_test.go")
	into := p.imports
	if isTest {
		into = p.testImports
	} else {
		p.name, p.files = parsed.Name.Name, append(p.files, path.Base(file))
		p.doc += docOf(parsed)
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		into[imported] = file
	}
	return nil
}

// docOf leaves out comments that are for the compiler, such as build constraints.
func docOf(file *ast.File) string {
	if file.Doc == nil {
		return ""
	}
	return file.Doc.Text()
}

// floorOf is the index of the floor that dir stands on, or -1.
func floorOf(dir string) int {
	for ; dir != "." && dir != "/"; dir = path.Dir(dir) {
		if i := slices.IndexFunc(floors, func(on []string) bool { return slices.Contains(on, dir) }); i >= 0 {
			return i
		}
	}
	return -1
}

// isForTests tells whether dir is a package of fakes or contract suites.
func isForTests(dir string) bool { return strings.HasSuffix(dir, "test") }

func isExample(dir string) bool { return strings.HasPrefix(dir, "examples/") }

func slurp(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
