package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/admission"
	"github.com/firebreak-dev/firebreak/internal/control/metrics"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// checkIn takes in what changed on a host and tells it what to look at, what it may activate, and when to come back.
func (in *Ingest) checkIn(w http.ResponseWriter, r *http.Request, id fleet.EndpointID) error {
	begun := in.Clock.Now()
	result, err := in.takeCheckIn(w, r, id)
	switch kind := fault.KindOf(err); {
	case err == nil:
	case kind == fault.Internal, kind == fault.Unavailable:
		result = metrics.Failed
	default:
		result = metrics.Refused
	}
	in.Meter.CheckIn(result, in.Clock.Now().Sub(begun))
	return err
}

func (in *Ingest) takeCheckIn(w http.ResponseWriter, r *http.Request, id fleet.EndpointID) (metrics.Result, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" {
		return metrics.Refused, encodedBody(coding)
	}
	s := in.pool.get()
	defer in.pool.Put(s)
	data, err := in.read(w, r, s)
	if err != nil {
		return metrics.Refused, unread(err)
	}
	if string(bytes.TrimSpace(data)) == "{}" {
		return metrics.Unchanged, in.unchanged(w, id, s)
	}
	var body api.CheckIn
	if err = parse(data, &body); err == nil {
		err = check(body)
	}
	if err != nil {
		return metrics.Refused, err
	}
	return metrics.Changed, in.entered(admission.Report, func(w http.ResponseWriter, r *http.Request, id fleet.EndpointID) error {
		return in.changed(w, r, id, body)
	})(w, r, id)
}

// changed takes in a check-in that says something.
func (in *Ingest) changed(w http.ResponseWriter, r *http.Request, id fleet.EndpointID, body api.CheckIn) error {
	now := in.Clock.Now()
	for name, c := range body.Components {
		body.Components[name] = bounded(c)
	}
	before, ok := in.Fleet.Get(id)
	if !ok {
		return in.unknown(id)
	}
	in.look(r, before, body, now)
	in.Fleet.Update(id, attributesOf(body.Attributes), body.Components, body.Boot)
	if body.Posture != nil {
		in.Fleet.Stand(id, fleet.PostureOf(body.Posture.Have))
	}
	heard := in.Fleet.Seen
	if body.Leaving {
		heard = in.Fleet.Leaves
	}
	known, _ := heard(id, now)
	in.settle(r, before, known)
	reply := api.CheckInReply{Now: now.Round(0), Resync: !known.Synced, Reported: known.Reported}
	in.converse(r, known, body, now, &reply)
	reply.Directives = in.directives(known) // last: what the host just reported may have been a trip
	poll := in.PollActive
	if !in.busy(known, body) {
		poll = spread(in.Desk.Poll(in.PollIdle), id, now)
		in.part(w, poll)
	}
	reply.PollMillis = poll.Milliseconds()
	return answer(w, reply)
}

// settle writes at once which components a host has, when that changed: a rollout must not forget a host because the server was killed
// before it wrote behind.
func (in *Ingest) settle(r *http.Request, before, now registry.Endpoint) {
	same := func(api.Component, api.Component) bool { return true }
	if maps.EqualFunc(before.Components, now.Components, same) {
		return
	}
	if err := in.save(r.Context(), now); err != nil {
		in.logFailure(r, "a host's components could not be stored at once; they will be behind", err)
	}
}

// converse stores reports and answers wishes. Its failures are not the check-in's: whatever is broken here, the host must still hear of
// new directives, which may recall what it runs. Reports that are not acknowledged come again, and so do wishes. While it is not stored
// what a host has to report, it gets no lease.
func (in *Ingest) converse(r *http.Request, e registry.Endpoint, body api.CheckIn, now time.Time, reply *api.CheckInReply) {
	id := e.ID
	ack, broken := in.report(r, e, body.Reports, now)
	if broken != nil {
		in.logFailure(r, "reports could not be taken in; they will come again", broken)
	}
	reply.Ack = ack
	for name, c := range body.Components {
		if c.Phase != "activating" && c.Phase != "proving" {
			continue
		}
		if err := in.Engine.Returned(r.Context(), id, name); err != nil {
			in.logFailure(r, "a host's return could not be noted", err)
		}
	}
	for _, wish := range body.Wishes {
		refusal := notNow
		if broken == nil {
			envelope, why, err := in.Engine.Ask(r.Context(), id, wish)
			if err == nil && why == "" {
				reply.Leases = append(reply.Leases, envelope)
				continue
			}
			if err == nil {
				refusal = why
			} else {
				in.logFailure(r, "a wish could not be answered; it will come again", err)
			}
		}
		reply.Refusals = append(reply.Refusals, api.Refusal{Component: wish.Component, Reason: refusal})
	}
}

const notNow = "the control plane has a failure and cannot decide now; its log says why"

func (in *Ingest) directives(e registry.Endpoint) map[string]int64 {
	if len(e.Components) == 0 {
		return nil
	}
	sequences := make(map[string]int64, len(e.Components))
	for component := range e.Components {
		if _, sequence := in.Engine.Directive(component); sequence > 0 {
			sequences[component] = sequence
		}
	}
	return sequences
}

// report stores what a host reports, and has it decided on. Only then it is acknowledged: whoever acts on an acknowledgement may rely on the
// decision. What is stored and not decided on yet comes again, and costs the database nothing.
func (in *Ingest) report(r *http.Request, e registry.Endpoint, reports []api.Report, now time.Time) (ack int64, err error) {
	if len(reports) == 0 {
		return 0, nil
	}
	if ack = e.Reported; reports[len(reports)-1].Seq > ack {
		if ack, err = in.keep(r.Context(), e, reports, now); err != nil {
			return 0, err
		}
	}
	if err := in.Engine.Take(r.Context(), e.ID); err != nil {
		return 0, fmt.Errorf("decide on the reports of %s: %w", e.ID, err)
	}
	return ack, nil
}

// keep stores reports, and returns up to which number they are stored.
func (in *Ingest) keep(ctx context.Context, e registry.Endpoint, reports []api.Report, now time.Time) (int64, error) {
	rows := make([]store.Report, len(reports))
	for i, report := range reports {
		data, err := json.Marshal(clipped(report))
		if err != nil {
			return 0, fmt.Errorf("encode report %d: %w", report.Seq, err)
		}
		rows[i] = store.Report{Seq: report.Seq, Data: data}
	}
	stored, err := in.Store.AddReportsOfMany(ctx, now, []store.EndpointReports{{Endpoint: e.ID, Number: e.Number, Reports: rows}})
	if err == nil {
		err = stored[0].Err
	}
	if err != nil {
		return 0, fmt.Errorf("store the reports of %s: %w", e.ID, err)
	}
	in.Fleet.Report(e.ID, stored[0].Highest)
	in.Meter.Reported(len(reports))
	return stored[0].Highest, nil
}

// clipped bounds what one report may hold. A report that is too long must not come again and again, so it is not refused.
func clipped(r api.Report) api.Report {
	for _, text := range []*string{&r.Component, &r.Rollout, &r.Release, &r.Manifest, &r.Outcome} {
		*text = clip(*text, maxText)
	}
	r.Detail = clip(r.Detail, maxDetail)
	if r.Crash != nil {
		r.Crash = &api.Crash{
			Signal: clip(r.Crash.Signal, maxText), Status: r.Crash.Status, Signature: clip(r.Crash.Signature, maxText),
			Headline: clip(r.Crash.Headline, maxText),
		}
	}
	return r
}

// bounded bounds what is kept in memory of one component.
func bounded(c api.Component) api.Component {
	for _, text := range []*string{&c.Kind, &c.Version, &c.Artifact, &c.Previous, &c.Consumer, &c.Phase} {
		*text = clip(*text, maxText)
	}
	c.Why = clip(c.Why, maxDetail)
	c.Refuses = c.Refuses[:min(len(c.Refuses), maxRefuses)]
	for i, manifest := range c.Refuses {
		c.Refuses[i] = clip(manifest, maxText)
	}
	return c
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// busy tells whether a host is on its way to a new release: it should come back soon.
func (in *Ingest) busy(e registry.Endpoint, body api.CheckIn) bool {
	if len(body.Wishes) > 0 || len(body.Reports) > 0 {
		return true
	}
	for name, c := range e.Components {
		if c.Phase != "idle" || in.Engine.Pending(e.ID, name) {
			return true
		}
	}
	return false
}

func check(body api.CheckIn) error {
	var problems []fault.Problem
	require := func(ok bool, path, format string, args ...any) {
		if !ok {
			problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
		}
	}
	require(len(body.Reports) <= maxReports, "reports", "are %d; %d is the most", len(body.Reports), maxReports)
	require(len(body.Components) <= maxComponents, "components", "are %d; %d is the most", len(body.Components), maxComponents)
	require(len(body.Wishes) <= maxWishes, "wishes", "are %d; %d is the most", len(body.Wishes), maxWishes)
	require(len(body.Boot) <= maxText, "boot", "is longer than %d bytes", maxText)
	if p := body.Posture; p != nil {
		require(len(p.Have)+len(p.Missing) <= maxPosture, "posture", "has %d words; %d is the most", len(p.Have)+len(p.Missing), maxPosture)
	}
	var before int64
	for i, report := range body.Reports {
		require(report.Seq > before, fmt.Sprintf("reports[%d].seq", i), "must be above %d, is %d", before, report.Seq)
		before = report.Seq
	}
	for i, wish := range body.Wishes[:min(len(body.Wishes), maxWishes)] {
		longest := max(len(wish.Component), len(wish.Rollout), len(wish.Manifest))
		require(longest <= maxText, fmt.Sprintf("wishes[%d]", i), "has a text longer than %d bytes", maxText)
	}
	for _, name := range slices.Sorted(maps.Keys(body.Components)) {
		require(plan.Name(name), "components", "has a bad name %q", name)
	}
	problems = append(problems, checkAttributes(body.Attributes)...)
	return fault.Problems("read the check-in", problems)
}

func checkAttributes(a *api.Attributes) []fault.Problem {
	if a == nil {
		return nil
	}
	var problems []fault.Problem
	for _, field := range []struct{ name, value string }{
		{"os", a.OS}, {"version", a.Version}, {"kernel", a.Kernel}, {"arch", a.Arch}, {"class", a.Class}, {"region", a.Region}, {"site", a.Site},
	} {
		if len(field.value) > maxText {
			problems = append(problems, fault.Problem{Path: "attributes." + field.name, Message: fmt.Sprintf("is longer than %d bytes", maxText)})
		}
	}
	return problems
}

func checkLabels(labels map[string]string) []fault.Problem {
	if len(labels) > maxLabels {
		return []fault.Problem{{Path: "labels", Message: fmt.Sprintf("are %d; %d is the most", len(labels), maxLabels)}}
	}
	var problems []fault.Problem
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if key == "" || len(key) > maxText || len(labels[key]) > maxText {
			problems = append(problems, fault.Problem{
				Path: "labels", Message: fmt.Sprintf("must have keys of 1 to %d and values of at most %d bytes, has %.40q", maxText, maxText, key),
			})
		}
	}
	return problems
}

func attributesOf(a *api.Attributes) *fleet.Attributes {
	if a == nil {
		return nil
	}
	converted := fleet.Attributes(*a)
	return &converted
}

// checkEnrolment finds what is wrong with a request before anything is done for it.
func checkEnrolment(body api.EnrolRequest) error {
	problems := append(checkAttributes(&body.Attributes), checkLabels(body.Labels)...)
	if len(body.Token) > maxText {
		problems = append(problems, fault.Problem{Path: "token", Message: fmt.Sprintf("is longer than %d bytes", maxText)})
	}
	return fault.Problems("read the request", append(problems, checkCSR(body.CSR)...))
}

func checkCSR(csr []byte) []fault.Problem {
	if len(csr) <= maxCSR {
		return nil
	}
	return []fault.Problem{{Path: "csr", Message: fmt.Sprintf("is longer than %d bytes", maxCSR)}}
}

// decode reads a bounded JSON body.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	if coding := r.Header.Get("Content-Encoding"); coding != "" {
		return encodedBody(coding)
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return unread(err)
	}
	return parse(data, into)
}

// encodedBody refuses a body that unpacks to nobody knows what.
func encodedBody(coding string) error {
	return fault.New(fault.Invalid, "read the request: it is encoded as %.20q; send it as it is", coding)
}

func unread(err error) error {
	if _, turned := errors.AsType[busyError](err); turned {
		return err
	}
	return fault.New(fault.Invalid, "read the request: %w", err)
}

// parse reads JSON. Unknown fields are ignored: an agent may be newer than its control plane.
func parse(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fault.New(fault.Invalid, "read the request: it is not the JSON that was expected: %w", err)
	}
	return nil
}
