package server

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

const maxReason = 1000 // bytes

func (s *server) listRollouts(w http.ResponseWriter, r *http.Request) error {
	q, err := s.rolloutsAsked(r)
	if err != nil {
		return err
	}
	fetch := func(limit int) ([]api.Rollout, error) {
		q.Limit = limit
		return s.Engine.Rollouts(r.Context(), q)
	}
	err = page(w, r, fetch, func(r api.Rollout) place { return place{r.ID} }, sure(func(r api.Rollout) api.Rollout { return r }))
	if q.Behind != "" && fault.KindOf(err) == fault.NotFound {
		return badQuery("after", "must be next of the page before")
	}
	return err
}

// rolloutsAsked reads which rollouts the query asks for.
func (s *server) rolloutsAsked(r *http.Request) (q store.RolloutQuery, err error) {
	if q.Component, err = s.componentAsked(r); err != nil {
		return q, err
	}
	if err = behind(r, &q.Behind); err != nil {
		return q, err
	}
	query := r.URL.Query()
	if q.Active, err = truth(query, "active"); err != nil {
		return q, err
	}
	for _, phase := range query["phase"] {
		if !slices.Contains(phases(), phase) {
			return q, badQuery("phase", fmt.Sprintf("must be %s, is %q", strings.Join(phases(), ", "), shorten(phase)))
		}
		q.Phases = append(q.Phases, rollout.Phase(phase))
	}
	return q, nil
}

// truth reads a parameter that is true or false; left out it is false.
func truth(query url.Values, name string) (bool, error) {
	text := query.Get(name)
	if text != "" && text != "true" && text != "false" {
		return false, badQuery(name, fmt.Sprintf("must be true or false, is %q", shorten(text)))
	}
	return text == "true", nil
}

func (s *server) getRollout(w http.ResponseWriter, r *http.Request) error {
	answer, err := s.Engine.Rollout(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeTagged(w, r, http.StatusOK, answer)
}

func (s *server) startRollout(w http.ResponseWriter, r *http.Request) error {
	var start startRollout
	if err := decode(w, r, &start); err != nil {
		return err
	}
	if err := s.atHand(r.Context(), start.Component, start.Version); err != nil {
		return err
	}
	answer, err := s.Engine.Start(r.Context(), start.StartRollout, callerOf(r.Context()).actor)
	if err != nil {
		return err
	}
	deedOf(r.Context()).to("rollout %s of %s %s", answer.ID, answer.Component, answer.Version)
	return writeTagged(w, r, http.StatusCreated, answer)
}

// startRollout is api.StartRollout with its rules.
type startRollout struct{ api.StartRollout }

// Check implements resource.Checker.
func (s startRollout) Check() []fault.Problem {
	var problems []fault.Problem
	if s.Component == "" {
		problems = append(problems, fault.Problem{Path: "component", Message: "is missing"})
	}
	if s.Version == "" {
		problems = append(problems, fault.Problem{Path: "version", Message: "is missing"})
	}
	return append(problems, checkReason(s.Reason)...)
}

func (s *server) actOnRollout(w http.ResponseWriter, r *http.Request) error {
	action := rollout.Action(r.PathValue("act"))
	switch action {
	case rollout.Approve, rollout.Pause, rollout.Resume, rollout.HoldBack, rollout.Unhold, rollout.Halt, rollout.RollBack:
	default:
		return fault.New(fault.NotFound, "act on rollout %s: there is no action %q; use approve, pause, resume, hold, unhold, halt or rollback",
			r.PathValue("id"), shorten(string(action)))
	}
	body := act{action: action}
	if err := decodeOptional(w, r, &body); err != nil {
		return err
	}
	seen := expectation{tagsIn(r, "If-Match"), body.Phase}
	if err := s.expect(r, seen); err != nil {
		return err
	}
	answer, err := s.Engine.Act(r.Context(), r.PathValue("id"), rollout.OperatorActed{
		Action: action, Actor: callerOf(r.Context()).actor, Reason: body.Reason, Select: body.selector(),
	})
	if err != nil && fault.KindOf(err) == fault.Conflict {
		return s.instead(r, err, seen)
	}
	if err != nil {
		return err
	}
	return writeTagged(w, r, http.StatusOK, answer)
}

// instead says what happened to a rollout that is not in a state for a command. A command that ends harm does not wait for that.
func (s *server) instead(r *http.Request, refused error, seen expectation) error {
	if urgent(r) && !seen.any() {
		return refused
	}
	if meanwhile := s.expect(r, seen); meanwhile != nil {
		return meanwhile // it says more
	}
	now, err := s.Engine.Rollout(r.Context(), r.PathValue("id"))
	if err != nil {
		return refused
	}
	happened, err := s.happened(r, now, -1)
	if err != nil {
		return refused
	}
	return fmt.Errorf("%w%s", refused, happened)
}

// act is api.Act with the rules of its action.
type act struct {
	api.Act
	action rollout.Action
}

const maxSelect = 8 << 10 // bytes of a hold's selector, which every directive of the component carries

// Check implements resource.Checker.
func (a act) Check() []fault.Problem {
	problems := checkReason(a.Reason)
	if a.Phase != "" && !slices.Contains(phases(), a.Phase) {
		problems = append(problems, fault.Problem{Path: "phase", Message: fmt.Sprintf("must be %s, is %q", strings.Join(phases(), ", "), shorten(a.Phase))})
	}
	add := func(path, format string, args ...any) {
		problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if a.action != rollout.HoldBack && a.action != rollout.Unhold {
		if a.Select != nil {
			add("select", "is for hold and unhold; %s is about the whole rollout", a.action)
		}
		return problems
	}
	if a.action == rollout.HoldBack && a.Reason == "" {
		add("reason", "is missing; the owners of held hosts are told it")
	}
	if len(a.Select) == 0 {
		add("select", "is missing; to expose nobody at all, pause or halt the rollout")
	}
	size := 0
	for key, values := range a.Select {
		size += len(key)
		for _, value := range values {
			size += len(value)
		}
	}
	if size > maxSelect {
		add("select", "has %d bytes; %d is the most", size, maxSelect)
	}
	return append(problems, fleet.Selector(a.Select).Check("select")...)
}

// selector is whom to hold. Values come in one order, so that one hold is found again however it was written.
func (a act) selector() fleet.Selector {
	if a.Select == nil {
		return nil
	}
	selects := make(fleet.Selector, len(a.Select))
	for key, values := range a.Select {
		selects[key] = slices.Compact(slices.Sorted(slices.Values(values)))
	}
	return selects
}

func checkReason(reason string) []fault.Problem { return checkText("reason", reason, maxReason) }

// checkText finds what is wrong with what an operator wrote for others to read. Control characters do things to terminals, and not every
// database can keep all of them.
func checkText(path, text string, most int) []fault.Problem {
	var problems []fault.Problem
	if len(text) > most {
		problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf("has %d bytes; %d is the most", len(text), most)})
	}
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
	if at := strings.IndexFunc(text, control); at >= 0 {
		r, _ := utf8.DecodeRuneInString(text[at:])
		problems = append(problems, fault.Problem{
			Path: path, Message: fmt.Sprintf("has the control character %U at byte %d; of those only new lines and tabs may be in it", r, at),
		})
	}
	return problems
}

// listEvents pages through a rollout's decisions by revision.
func (s *server) listEvents(w http.ResponseWriter, r *http.Request) error {
	limit, err := pageSize(r)
	if err != nil {
		return err
	}
	var after int64
	if text := r.URL.Query().Get("after"); text != "" {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			return badQuery("after", fmt.Sprintf("must be a revision, is %q", shorten(text)))
		}
	}
	id, err := s.known(r)
	if err != nil {
		return err
	}
	decisions, last, err := s.decisions(r.Context(), id, after, limit)
	if err != nil {
		return err
	}
	page := api.Page[api.Decision]{Items: decisions}
	if len(decisions) == limit {
		page.Next = strconv.FormatInt(last, 10)
	}
	return writeOK(w, page)
}

// known is the id of the rollout that the path names.
func (s *server) known(r *http.Request) (rollout.ID, error) {
	answer, err := s.Engine.Rollout(r.Context(), r.PathValue("id"))
	return rollout.ID(answer.ID), err
}

// decisions reads at most limit events after a revision, and tells the revision of the last one.
func (s *server) decisions(ctx context.Context, id rollout.ID, after int64, limit int) ([]api.Decision, int64, error) {
	events, err := s.Records.Events(ctx, id, after, limit)
	if err != nil {
		return nil, 0, err
	}
	decisions := make([]api.Decision, len(events))
	for i, e := range events {
		if decisions[i], err = decisionWire(e); err != nil {
			return nil, 0, err
		}
		after = e.Revision
	}
	return decisions, after, nil
}

func decisionWire(e store.Event) (api.Decision, error) {
	records, err := rollout.DecodeRecords(e.Effects)
	if err != nil {
		return api.Decision{}, fmt.Errorf("read event %d of rollout %s: %w", e.Revision, e.Rollout, err)
	}
	return api.Decision{Revision: e.Revision, At: e.At, Event: e.Name, Data: e.Data, Records: each(records, recordWire)}, nil
}

func recordWire(r rollout.Record) api.Record {
	return api.Record{
		Verdict: string(r.Verdict), Reason: r.Reason, Ring: r.Ring, Exposed: r.Exposed, Unconfirmed: r.Unconfirmed,
		Harmed: r.Harmed, Evidence: r.Evidence, Alarm: string(r.Alarm),
	}
}

func (s *server) listLeases(w http.ResponseWriter, r *http.Request) error {
	outcomes, err := outcomesIn(r)
	if err != nil {
		return err
	}
	id, err := s.known(r)
	if err != nil {
		return err
	}
	var after fleet.EndpointID
	if err := behind(r, &after); err != nil {
		return err
	}
	fetch := func(limit int) ([]store.Lease, error) {
		return s.Records.LeasesPage(r.Context(), id, after, limit, outcomes...)
	}
	return page(w, r, fetch, func(l store.Lease) place { return place{l.Endpoint} }, sure(leaseWire))
}

// harmedHosts asks for all outcomes that harm.
const harmedHosts = "harmed"

// outcomesIn are those that a request asks for; none: any.
func outcomesIn(r *http.Request) ([]rollout.Outcome, error) {
	switch wanted := r.URL.Query().Get("outcome"); {
	case wanted == "":
		return nil, nil
	case wanted == harmedHosts:
		return rollout.Harmful(), nil
	case slices.Contains(outcomes(), wanted):
		return []rollout.Outcome{rollout.Outcome(wanted)}, nil
	default:
		return nil, badQuery("outcome", fmt.Sprintf("must be %s or one of %s, is %q", harmedHosts, strings.Join(outcomes(), ", "), shorten(wanted)))
	}
}

// outcomes are the words for what became of a lease.
func outcomes() []string {
	return []string{"pending", "confirmed", "crashed", "reverted", "rejected", "silent", "goodbye", "late"}
}

func leaseWire(l store.Lease) api.LeaseStatus {
	return api.LeaseStatus{
		Endpoint: string(l.Endpoint), Tenant: string(l.Tenant), Site: l.Site, Rollout: string(l.Rollout), Ring: l.Ring, Issued: l.Issued,
		Deadline: l.Deadline, Outcome: string(l.Outcome), Known: optional(l.Known), Detail: l.Detail, Recovered: optional(l.Recovered),
	}
}

// phases are the words for how a rollout stands.
func phases() []string {
	var words []string
	for _, p := range []rollout.Phase{
		rollout.Proposed, rollout.Running, rollout.Paused, rollout.Complete, rollout.Halted, rollout.Tripped, rollout.RolledBack,
	} {
		words = append(words, string(p))
	}
	return words
}
