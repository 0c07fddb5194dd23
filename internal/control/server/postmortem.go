package server

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/postmortem"
)

// Forms of a post-mortem.
const (
	asJSON     = "json"
	asMarkdown = "markdown"
	asZip      = "zip"
)

func reportFormats() []string { return []string{asJSON, asMarkdown, asZip} }

// postMortem writes an incident down, in the form that is asked for.
func (s *server) postMortem(w http.ResponseWriter, r *http.Request) error {
	format := r.URL.Query().Get("format")
	if format != "" && !slices.Contains(reportFormats(), format) {
		return badQuery("format", fmt.Sprintf("must be json, markdown or zip, is %q", shorten(format)))
	}
	document, err := s.writtenDown(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	var file bytes.Buffer
	switch format {
	case asMarkdown:
		file.Write(postmortem.Markdown(document))
		return sendFile(w, "text/markdown; charset=utf-8", document.Incident.ID+".md", file.Bytes())
	case asZip:
		if err := postmortem.Zip(&file, document); err != nil {
			return err
		}
		return sendFile(w, "application/zip", document.Incident.ID+".zip", file.Bytes())
	}
	return writeOK(w, document)
}

// writtenDown gathers what a post-mortem of an incident needs.
func (s *server) writtenDown(ctx context.Context, id string) (api.PostMortem, error) {
	incident, err := s.incident(ctx, id)
	if err != nil {
		return api.PostMortem{}, err
	}
	series, err := s.seriesOf(ctx, incident.Rollout, defaultPoints)
	if err != nil {
		return api.PostMortem{}, err
	}
	frozen, err := s.planOf(ctx, rollout.ID(incident.Rollout))
	if err != nil {
		return api.PostMortem{}, err
	}
	return postmortem.Write(incident, series, frozen, s.Clock.Now()), nil
}

// planOf is the plan that was frozen into a rollout: its first event has it.
func (s *server) planOf(ctx context.Context, id rollout.ID) (plan.Plan, error) {
	events, err := s.Records.Events(ctx, id, 0, 1)
	if err != nil {
		return plan.Plan{}, err
	}
	if len(events) == 0 {
		return plan.Plan{}, fault.New(fault.NotFound, "find the plan of rollout %s: it has no events", id)
	}
	first, err := rollout.DecodeEvent(events[0].Name, events[0].Data)
	if err != nil {
		return plan.Plan{}, fmt.Errorf("read event 1 of rollout %s: %w", id, err)
	}
	started, ok := first.(rollout.Started)
	if !ok {
		return plan.Plan{}, fault.New(fault.Internal, "find the plan of rollout %s: it begins with %s", id, events[0].Name)
	}
	return started.Plan, nil
}

// sendFile answers with a file to keep. Of its name only what no header and no file system takes amiss is told.
func sendFile(w http.ResponseWriter, media, name string, data []byte) error {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '_'
	}, name)
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="incident-%s"`, strings.TrimPrefix(safe, "incident-")))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(data) // nobody is left to be told of an error
	return nil
}
