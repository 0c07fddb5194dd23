package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// explanation is what explain prints as JSON.
type explanation struct {
	Rollout   string         `json:"rollout"`
	Decisions []api.Decision `json:"decisions"`
	Replay    *replay        `json:"replay,omitempty"`
}

func (p *program) rolloutExplain() *cobra.Command {
	var revision int64
	var all, verify bool
	c := p.leaf(command{
		use: "explain [ID]", short: "Tell from stored events why each decision was taken", args: cobra.MaximumNArgs(1), ids: p.rolloutIDs,
		lists: "firebreak rollout list",
		long: `
Tells, from stored events alone and without an ID of the newest rollout, what happened in a rollout and why each decision was taken, with the numbers it was
taken on. Granted leases and events that decided nothing are left out unless --all. --revision shows one event with
its data. --verify replays every event on this machine through the same decision code and says whether the decisions
and the stored state are the same; if they are not, the exit code is 1.`,
		example: `firebreak rollout explain ro-4q2k
			firebreak rollout explain ro-4q2k --revision 17
			firebreak rollout explain ro-4q2k --verify`,
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			id, err := oneOrNewest(ctx, c, args)
			if err != nil {
				return err
			}
			r, events, err := history(ctx, c, id)
			if err != nil {
				return err
			}
			e := explanation{Rollout: r.ID, Decisions: pick(events, revision, all)}
			if revision > 0 && len(e.Decisions) == 0 {
				return fault.New(fault.NotFound, "explain rollout %s: it has no event %d, the last one is %d", r.ID, revision, r.Revision)
			}
			if verify {
				outcome := replayed(r, events)
				e.Replay = &outcome
			}
			if err := p.show(e, func() { p.sayExplanation(r, e, revision > 0) }); err != nil {
				return err
			}
			if e.Replay != nil && len(e.Replay.Differences) > 0 {
				return exitCode(ExitFailed)
			}
			return nil
		},
	})
	flags := c.Flags()
	flags.Int64Var(&revision, "revision", 0, "only the event with this number, with its data")
	flags.BoolVar(&all, "all", false, "every event, granted leases too")
	flags.BoolVar(&verify, "verify", false, "replay all events here and compare")
	return c
}

// history is a rollout and all its events up to the revision that it was shown at.
func history(ctx context.Context, c *client.Client, id string) (api.Rollout, []api.Decision, error) {
	r, err := c.Rollout(ctx, id)
	if err != nil {
		return r, nil, err
	}
	var events []api.Decision
	for d, err := range c.Events(ctx, id, 0) {
		if err != nil {
			return r, nil, err
		}
		if d.Revision > r.Revision {
			break // it goes on while we read
		}
		events = append(events, d)
	}
	return r, events, nil
}

// pick chooses the decisions to show.
func pick(events []api.Decision, revision int64, all bool) []api.Decision {
	kept := []api.Decision{}
	for _, d := range events {
		if revision > 0 {
			if d.Revision == revision {
				kept = append(kept, d)
			}
			continue
		}
		if !all {
			d.Records = slices.DeleteFunc(slices.Clone(d.Records), func(r api.Record) bool { return r.Verdict == string(rollout.DidGrant) })
		}
		if all || len(d.Records) > 0 {
			kept = append(kept, d)
		}
	}
	return kept
}

func (p *program) sayExplanation(r api.Rollout, e explanation, withData bool) {
	style := p.styleOf(p.Out)
	p.say("%s  %s %s", style.bold(r.ID), r.Component, r.Version)
	p.say("on plan %s: %s after %s", r.Plan, style.outcome(words(r.Phase)), plural(r.Revision, "event"))
	for _, d := range e.Decisions {
		p.say("")
		p.say("%s %s %s", style.bold(fmt.Sprintf("#%d", d.Revision)), stamp(d.At)+d.At.UTC().Format(".000"), words(d.Event))
		for _, k := range d.Records {
			head := "  " + k.Verdict + ": "
			for i, line := range wrap(head, k.Reason, p.width()-1) {
				if i == 0 {
					line = "  " + style.bold(k.Verdict) + ": " + strings.TrimPrefix(line, head)
				}
				p.say("%s", line)
			}
			p.say("%s", style.dim(fmt.Sprintf("    ring %s; exposed %d, unconfirmed %d, harmed %d, E %s, %s", ringName(r.Rings, k.Ring), k.Exposed,
				k.Unconfirmed, k.Harmed, evidence(k.Evidence), k.Alarm)))
		}
		if len(d.Records) == 0 {
			p.say("  nothing to decide")
		}
		if withData {
			p.say("  %s", d.Data)
		}
	}
	if e.Replay != nil {
		p.say("")
		p.sayReplay(*e.Replay)
	}
}

// ringName is a ring's name, or its number if the rings are not known.
func ringName(rings []api.Ring, k int) string {
	if k >= 0 && k < len(rings) {
		return rings[k].Name
	}
	return fmt.Sprint(k)
}

func (p *program) sayReplay(r replay) {
	style := p.styleOf(p.Out)
	if len(r.Differences) == 0 {
		p.say("%s: replaying %s gives the same %s and the stored state", style.green("verified"), plural(int64(r.Events), "event"),
			plural(int64(r.Records), "decision"))
		return
	}
	p.say("%s: replaying %s gives something else (I10)", style.red("NOT the same"), plural(int64(r.Events), "event"))
	for _, d := range r.Differences {
		p.say("  %s", d)
	}
}

// replay is what came of running stored events through the decision again.
type replay struct {
	Events      int      `json:"events"`
	Records     int      `json:"records"`
	Differences []string `json:"differences"` // none: everything is as stored
}

const maxDifferences = 20

// replayed steps through all events from nothing, and compares each decision and the final state with what is stored (I10).
func replayed(r api.Rollout, events []api.Decision) replay {
	result := replay{Events: len(events), Differences: []string{}}
	differ := func(format string, args ...any) {
		if len(result.Differences) < maxDifferences {
			result.Differences = append(result.Differences, fmt.Sprintf(format, args...))
		}
	}
	var state rollout.State
	for i, d := range events {
		if d.Revision != int64(i+1) {
			differ("event %d is missing", i+1)
			return result
		}
		event, err := rollout.DecodeEvent(d.Event, d.Data)
		if err != nil {
			differ("event %d: %v", d.Revision, err)
			return result
		}
		var effects []rollout.Effect
		state, effects = rollout.Step(state, event)
		again, err := recordsOf(effects)
		if err != nil {
			differ("event %d: %v", d.Revision, err)
			return result
		}
		result.Records += len(again)
		if !slices.Equal(again, d.Records) {
			differ("event %d decided %s, stored is %s", d.Revision, asJSON(again), asJSON(d.Records))
		}
	}
	if int64(len(events)) != r.Revision {
		differ("there are %d events, the rollout is at revision %d", len(events), r.Revision)
	}
	for _, d := range differences(asJSON(projected(r)), asJSON(projection(state))) {
		differ("state: stored -> replayed: %s", d)
	}
	return result
}

// recordsOf is what a reader of the stored effects sees.
func recordsOf(effects []rollout.Effect) ([]api.Record, error) {
	data, err := rollout.EncodeEffects(effects)
	if err != nil {
		return nil, err
	}
	decoded, err := rollout.DecodeRecords(data)
	var records []api.Record
	for _, r := range decoded {
		records = append(records, api.Record{
			Verdict: string(r.Verdict), Reason: r.Reason, Ring: r.Ring, Exposed: r.Exposed, Unconfirmed: r.Unconfirmed,
			Harmed: r.Harmed, Evidence: r.Evidence, Alarm: string(r.Alarm),
		})
	}
	return records, err
}

// projected keeps of a shown rollout what a state has. Waiting, ring sizes, ring states and what explains the harm follow from it.
func projected(r api.Rollout) api.Rollout {
	r.Revision, r.Waiting, r.Missing, r.Incident, r.Strata, r.Suspects = 0, api.Waiting{}, nil, "", nil, nil
	r.Rings = slices.Clone(r.Rings)
	for i := range r.Rings {
		r.Rings[i].Size, r.Rings[i].State = 0, ""
	}
	return r
}

func projection(s rollout.State) api.Rollout {
	r := api.Rollout{
		ID: string(s.ID), Component: s.Release.Component, Version: s.Release.Version, Manifest: string(s.Release.Manifest), Plan: s.Plan.Name,
		Phase: string(s.Phase), Reason: s.Reason, Cell: s.Cell, Cells: cellsOf(s),
		Started: s.Started, Ring: s.Ring, Window: s.Allowed(), Unconfirmed: s.Unconfirmed, Eligible: s.Eligible, Exposed: s.Exposed(), Confirmed: s.Confirmed(),
		Harmed: s.Harmed(), Recovered: s.Recovered, Returned: s.Returned, Evidence: s.Evidence(), Amber: s.Plan.Breaker.Amber,
		Trip: s.Plan.Breaker.Trip(), Alarm: string(s.Alarm),
		Emergency: s.Plan.Emergency, Approvals: s.Plan.Approvals, Approved: s.Approved, Doubt: s.Doubt(),
	}
	for _, h := range s.Holds {
		r.Holds = append(r.Holds, api.RolloutHold{Select: h.Select, Text: h.Select.String(), Reason: h.Reason, At: h.At, By: h.By})
	}
	if s.Cell != "" {
		r.Wave = s.Plan.Wave(s.Cell) + 1
	}
	if s.Unfit.Hosts > 0 {
		r.Unfit = &api.Unfit{Hosts: s.Unfit.Hosts, Lacks: s.Unfit.Lacks}
	}
	if !s.Ended.IsZero() {
		r.Ended = &s.Ended
	}
	if !s.FirstHarm.IsZero() {
		r.FirstHarm = &s.FirstHarm
	}
	for k, ring := range s.Rings {
		r.Rings = append(r.Rings, api.Ring{
			Name: s.Plan.Rings[k].Name, Leased: ring.Leased, Confirmed: ring.Confirmed, Crashed: ring.Crashed, Reverted: ring.Reverted,
			Silent: ring.Silent, Goodbye: ring.Goodbye, Late: ring.Late, Rejected: ring.Rejected, Boots: ring.Boots, HostHours: ring.HostHours,
		})
	}
	return r
}

func asJSON(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`"` + err.Error() + `"`)
	}
	return data
}
