package server

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Entity tags. A tag is strong: it is made of the bytes of the answer. That of a rollout begins with its revision, which is all that
// If-Match compares of it: what a rollout waits for may read differently without anything having been decided.

// writeTagged is write with an ETag. A GET that named the tag gets 304.
func writeTagged(w http.ResponseWriter, r *http.Request, status int, v any) error {
	data, err := encode(v)
	if err != nil {
		return err
	}
	tag := tagOf(v, data)
	w.Header().Set("ETag", tag)
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && slices.ContainsFunc(tagsIn(r, "If-None-Match"), func(known string) bool {
		return known == "*" || strings.TrimPrefix(known, "W/") == tag
	}) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	send(w, status, data)
	return nil
}

func tagOf(v any, data []byte) string {
	sum := sha256.Sum256(data)
	tag := hex.EncodeToString(sum[:12])
	if r, ok := v.(api.Rollout); ok {
		tag = strconv.FormatInt(r.Revision, 10) + "-" + tag
	}
	return `"` + tag + `"`
}

// tagsIn lists the tags of a header. No tag of ours has a comma.
func tagsIn(r *http.Request, header string) []string {
	var tags []string
	for _, value := range r.Header.Values(header) {
		for tag := range strings.SplitSeq(value, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				tags = append(tags, tag)
			}
		}
	}
	return tags
}

// unchanged heeds If-Match and If-None-Match of a PUT: it refuses to replace what the sender has not seen. Have reads what there is;
// told says in words what that is.
func unchanged[T any](r *http.Request, what string, have func() (T, error), told func(T) string) error {
	match, none := tagsIn(r, "If-Match"), tagsIn(r, "If-None-Match")
	if len(match)+len(none) == 0 {
		return nil
	}
	now, err := have()
	missing := err != nil && fault.KindOf(err) == fault.NotFound
	if err != nil && !missing {
		return err
	}
	if missing {
		if len(match) > 0 {
			return changedMeanwhile("Leave out If-Match to make one.", "put %s: there is none", what)
		}
		return nil
	}
	data, err := encode(now)
	if err != nil {
		return err
	}
	tag := tagOf(now, data)
	if len(match) > 0 && !slices.Contains(match, "*") && !slices.Contains(match, tag) {
		return changedMeanwhile("Read it again, and decide again.", "put %s: it was changed since it was read: %s", what, told(now))
	}
	if slices.Contains(none, "*") || slices.Contains(none, tag) {
		return changedMeanwhile("Leave out If-None-Match to replace it.", "put %s: there is one already: %s", what, told(now))
	}
	return nil
}

// changedMeanwhile is a failed precondition.
func changedMeanwhile(next, format string, args ...any) error {
	return withStatus(http.StatusPreconditionFailed, fault.New(fault.Conflict, format, args...).Hint("%s", next))
}

// expectation is how the sender of a command saw the rollout.
type expectation struct {
	tags  []string
	phase string
}

func (e expectation) any() bool { return len(e.tags) > 0 || e.phase != "" }

// revision is the one that the tags name, -1 if they name none.
func (e expectation) revision() int64 {
	for _, tag := range e.tags {
		number, _, _ := strings.Cut(strings.Trim(tag, `"`), "-")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

// met tells whether a rollout is still as it was seen.
func (e expectation) met(now api.Rollout) bool {
	if e.phase != "" && now.Phase != e.phase {
		return false
	}
	return len(e.tags) == 0 || slices.Contains(e.tags, "*") || slices.ContainsFunc(e.tags, func(tag string) bool {
		return expectation{tags: []string{tag}}.revision() == now.Revision
	})
}

// expect refuses a command on a rollout that is not as its sender saw it, and says what happened instead.
func (s *server) expect(r *http.Request, e expectation) error {
	if !e.any() {
		return nil
	}
	now, err := s.Engine.Rollout(r.Context(), r.PathValue("id"))
	if err != nil || e.met(now) {
		return err
	}
	seen := []string{}
	if e.phase != "" {
		seen = append(seen, e.phase)
	}
	if revision := e.revision(); revision >= 0 {
		seen = append(seen, fmt.Sprintf("at revision %d", revision))
	}
	happened, err := s.happened(r, now, e.revision())
	if err != nil {
		return err
	}
	return changedMeanwhile("Look at it again: firebreak rollout show "+now.ID, "%s rollout %s: you saw it %s; it is %s, at revision %d%s",
		r.PathValue("act"), now.ID, strings.Join(seen, " "), now.Phase, now.Revision, happened)
}

// Bounds of what is told of what happened.
const (
	lookBack = 200 // events at most
	mostTold = 3
)

// happened tells the last decisions on a rollout since a revision, but for leases.
func (s *server) happened(r *http.Request, now api.Rollout, since int64) (string, error) {
	decisions, _, err := s.decisions(r.Context(), rollout.ID(now.ID), max(since, now.Revision-lookBack, 0), lookBack)
	if err != nil {
		return "", err
	}
	var told []string
	for _, d := range slices.Backward(decisions) {
		for _, record := range slices.Backward(d.Records) {
			if record.Verdict != string(rollout.DidGrant) && len(told) < mostTold {
				told = append(told, fmt.Sprintf("%s at %s (%s)", record.Verdict, moment(d.At), record.Reason))
			}
		}
	}
	if len(told) == 0 {
		return "", nil
	}
	return "; last of all: " + strings.Join(told, ", before that "), nil
}
