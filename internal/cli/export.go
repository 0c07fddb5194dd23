package cli

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// exported is what `incident export --json` prints.
type exported struct {
	Incident string   `json:"incident"`
	Files    []string `json:"files"`
}

// exporting is what the flags of an export say.
type exporting struct {
	format, out string
	force       bool
}

func (p *program) incidentExport() *cobra.Command {
	var o exporting
	c := p.leaf(command{
		use: "export ID", short: "Write a post-mortem: facts filled in, questions left open", args: cobra.ExactArgs(1), lists: "firebreak incident list",
		long: `
Writes an incident down for the people who work it up: what happened in a paragraph, the facts, whom it reached, what the harmed hosts have
in common, the timeline with its reasons, pictures, and the questions that records cannot answer. Everything is from stored records, so it
can be written again when more is known.

Without --format it makes a directory with report.md, report.json, exposure.svg and evidence.svg. Nothing is overwritten without --force.`,
		example: "firebreak incident export inc-4q2kd7x0ab\nfirebreak incident export inc-4q2kd7x0ab --format markdown --out - | less",
		ids:     p.incidentIDs,
		run:     func(ctx context.Context, args []string) error { return p.exportIncident(ctx, args[0], o) },
	})
	flags := c.Flags()
	flags.StringVar(&o.format, "format", "", "one file instead of a directory: markdown, json, or zip with everything")
	flags.StringVar(&o.out, "out", "", "directory, file, or - for standard output (default incident-ID in this directory)")
	flags.BoolVar(&o.force, "force", false, "overwrite what is there")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"markdown", "json", "zip"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (p *program) exportIncident(ctx context.Context, id string, o exporting) error {
	endings := map[string]string{"": "", "markdown": ".md", "json": ".json", "zip": ".zip"}
	ending, known := endings[o.format]
	switch {
	case !known:
		return fault.New(fault.Invalid, "export incident %s: --format must be markdown, json or zip, is %q", id, o.format)
	case o.out == "-" && o.format == "":
		return fault.New(fault.Invalid, "export incident %s: a directory cannot go to standard output", id).Hint("Say what should: --format markdown, json or zip.")
	}
	c, err := p.connect()
	if err != nil {
		return err
	}
	report, err := c.IncidentReport(ctx, id, first(o.format, "zip"))
	if err != nil {
		return err
	}
	files := []namedFile{{first(o.out, "incident-"+fileName(id)+ending), report}}
	switch {
	case o.out == "-":
		_, _ = p.Out.Write(report) // a closed pipe has nobody to be told
		return nil
	case o.format == "":
		if files, err = unpack(report, files[0].name); err != nil {
			return fmt.Errorf("export incident %s: %w", id, err)
		}
	}
	if err := keep(files, o.force); err != nil {
		return fmt.Errorf("export incident %s: %w", id, err)
	}
	done := exported{Incident: id}
	for _, f := range files {
		done.Files = append(done.Files, f.name)
	}
	return p.show(done, func() { p.say("Written: %s", strings.Join(done.Files, ", ")) })
}

// namedFile is a file to be written.
type namedFile struct {
	name string
	data []byte
}

// fileName is an id as part of a file's name.
func fileName(id string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, id)
}

// Bounds of an archive that a server sends.
const (
	mostFiles    = 100
	mostUnpacked = 256 << 20 // bytes of all files together
)

// unpack reads an archive of plain files that are to lie in a directory. Names that lead elsewhere are refused.
func unpack(data []byte, dir string) ([]namedFile, error) {
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fault.New(fault.Internal, "the archive is damaged: %w", err)
	}
	if len(archive.File) > mostFiles {
		return nil, fault.New(fault.Internal, "the archive has %d files", len(archive.File))
	}
	var files []namedFile
	left := int64(mostUnpacked)
	for _, f := range archive.File {
		if !filepath.IsLocal(f.Name) || f.Name == "." || strings.ContainsAny(f.Name, `/\:`) || !f.Mode().IsRegular() {
			return nil, fault.New(fault.Denied, "the archive has %q, which is no plain file", f.Name)
		}
		content, err := unpackOne(f, left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(content))
		files = append(files, namedFile{filepath.Join(dir, f.Name), content}) //nolint:gosec // a plain name, as was just checked
	}
	return files, nil
}

func unpackOne(f *zip.File, most int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, fault.New(fault.Internal, "the archive is damaged at %s: %w", f.Name, err)
	}
	content, err := io.ReadAll(io.LimitReader(r, most+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fault.New(fault.Internal, "the archive is damaged at %s: %w", f.Name, err)
	}
	if int64(len(content)) > most {
		return nil, fault.New(fault.Internal, "the archive is too large")
	}
	return content, nil
}

// keep writes files, and their directories. Unless it is forced it overwrites none, and then writes none at all.
func keep(files []namedFile, force bool) error {
	for _, f := range files {
		if _, err := os.Lstat(f.name); err == nil && !force {
			return fault.New(fault.Conflict, "%s is there already", f.name).Hint("Name another place with --out, or overwrite it with --force.")
		}
	}
	for _, f := range files {
		err := os.MkdirAll(filepath.Dir(f.name), 0o755) //nolint:gosec // a report is for everybody to see
		if err == nil {
			err = os.WriteFile(f.name, f.data, 0o644) //nolint:gosec // see above
		}
		if errors.Is(err, fs.ErrPermission) {
			return fault.New(fault.Denied, "write %s: %w", f.name, err)
		}
		if err != nil {
			return fault.New(fault.Invalid, "write %s: %w", f.name, err)
		}
	}
	return nil
}
