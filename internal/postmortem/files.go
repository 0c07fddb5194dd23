package postmortem

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/chart"
	"github.com/firebreak-dev/firebreak/internal/chart/picture"
)

const (
	markdownName = "report.md"
	jsonName     = "report.json"
	exposureName = "exposure.svg"
	evidenceName = "evidence.svg"
)

// File is a part of a post-mortem that is handed over as files.
type File struct {
	Name string // without a directory
	Data []byte
}

// Files is a post-mortem as files: for people, for programs, and the pictures if its rollout's course is known.
func Files(m api.PostMortem) ([]File, error) {
	var wire bytes.Buffer
	encoder := json.NewEncoder(&wire)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(m); err != nil {
		return nil, fmt.Errorf("write post-mortem of incident %s: %w", m.Incident.ID, err)
	}
	files := []File{{markdownName, Markdown(m)}, {jsonName, wire.Bytes()}}
	if m.Series == nil {
		return files, nil
	}
	var r api.Rollout
	if m.Incident.Summary != nil {
		r = *m.Incident.Summary
	}
	for _, p := range []struct {
		name  string
		chart chart.Chart
	}{{exposureName, picture.Exposure(r, *m.Series)}, {evidenceName, picture.Evidence(r, *m.Series)}} {
		var svg bytes.Buffer
		if err := p.chart.WriteSVG(&svg); err != nil {
			return nil, fmt.Errorf("write post-mortem of incident %s: %w", m.Incident.ID, err)
		}
		files = append(files, File{p.name, svg.Bytes()})
	}
	return files, nil
}

// Zip writes the files in one archive. The same post-mortem gives the same bytes.
func Zip(w io.Writer, m api.PostMortem) error {
	files, err := Files(m)
	if err != nil {
		return err
	}
	archive := zip.NewWriter(w)
	for _, f := range files {
		into, err := archive.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: m.Made.UTC()})
		if err == nil {
			_, err = into.Write(f.Data)
		}
		if err != nil {
			return fmt.Errorf("pack post-mortem of incident %s: %w", m.Incident.ID, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("pack post-mortem of incident %s: %w", m.Incident.ID, err)
	}
	return nil
}
