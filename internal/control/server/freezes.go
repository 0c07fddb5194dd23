package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func (s *server) getFreezes(w http.ResponseWriter, r *http.Request) error {
	answer, err := freezesWire(s.Freezes.Freezes())
	if err != nil {
		return err
	}
	return writeTagged(w, r, http.StatusOK, answer)
}

// putFreezes replaces the installation's freezes, unless somebody else has done so since the list was read.
func (s *server) putFreezes(w http.ResponseWriter, r *http.Request) error {
	var wanted freezes
	if err := decode(w, r, &wanted); err != nil {
		return err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	have, err := freezesWire(s.Freezes.Freezes())
	if err != nil {
		return err
	}
	if err = unchanged(r, "the freezes", func() (api.Freezes, error) { return have, nil }, freezeNames); err != nil {
		return err
	}
	if wanted.Tag != "" && wanted.Tag != have.Tag {
		return fault.New(fault.Conflict, "set the freezes: they were changed since they were read").Hint("read them again: firebreak freeze list")
	}
	actor := callerOf(r.Context()).actor
	if err = s.Freezes.SetFreezes(r.Context(), calendar.Calendar{Freezes: wanted.Freezes}, actor); err != nil {
		return err
	}
	s.Log.InfoContext(r.Context(), "freezes set", slog.String("actor", actor), slog.Int("freezes", len(wanted.Freezes)))
	answer, err := freezesWire(s.Freezes.Freezes())
	if err != nil {
		return err
	}
	return writeTagged(w, r, http.StatusOK, answer)
}

// freezeNames tells of a list in words.
func freezeNames(f api.Freezes) string {
	if len(f.Freezes) == 0 {
		return "there are none"
	}
	return "there are " + shorten(strings.Join(each(f.Freezes, func(f api.Freeze) string { return f.Name }), ", "))
}

// freezes is api.Freezes with its rules.
type freezes struct {
	Freezes []calendar.Freeze `json:"freezes"`
	Tag     string            `json:"tag"`
}

// Check implements resource.Checker.
func (f freezes) Check() []fault.Problem { return CheckFreezes(f.Freezes) }

// CheckFreezes lists everything that is wrong with the installation's freezes, below the path "freezes". No list at all is a mistake:
// an empty one lifts every freeze.
func CheckFreezes(freezes []calendar.Freeze) []fault.Problem {
	if freezes == nil {
		return []fault.Problem{{Path: "freezes", Message: "is missing; write an empty list to lift every freeze"}}
	}
	return calendar.Calendar{Freezes: freezes}.Check("")
}

// FreezeWire is a freeze as it is shown.
func FreezeWire(f calendar.Freeze) api.Freeze {
	return api.Freeze{Name: f.Name, From: string(f.From), To: string(f.To), Zone: f.Zone}
}

// freezesWire shows the freezes of a calendar. The tag says nothing but which list it is.
func freezesWire(c calendar.Calendar) (api.Freezes, error) {
	answer := api.Freezes{Freezes: each(c.Freezes, FreezeWire)}
	data, err := json.Marshal(answer.Freezes)
	if err != nil {
		return api.Freezes{}, fmt.Errorf("encode freezes: %w", err)
	}
	sum := sha256.Sum256(data)
	answer.Tag = hex.EncodeToString(sum[:8])
	return answer, nil
}
