package demo

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// result asks the stores, not the script, what happened.
func (s *show) result(ctx context.Context, good, bad, mended, latecomer string) (Result, error) {
	r := Result{Fleet: s.Agents}
	var err error
	if r.Good.Confirmed, err = s.confirmed(ctx, good, ""); err != nil {
		return r, err
	}
	if r.Mended.Confirmed, err = s.confirmed(ctx, mended, ""); err != nil {
		return r, err
	}
	// The latecomer took v1 later, by the same rollout; the fleet that v1 was rolled out to is counted without it.
	late, err := s.confirmed(ctx, good, latecomer)
	if err != nil {
		return r, err
	}
	r.Good.Confirmed -= late
	if r.Bad, err = s.badResult(ctx, bad); err != nil {
		return r, err
	}
	leases, err := s.api.Leases(ctx, bad)
	for _, l := range leases {
		r.Latecomer.ActivatedBad = r.Latecomer.ActivatedBad || l.Endpoint == latecomer
	}
	return r, err
}

// confirmed counts the confirmed leases of a rollout, of one endpoint or of all.
func (s *show) confirmed(ctx context.Context, rollout, endpoint string) (int, error) {
	leases, err := s.api.Leases(ctx, rollout)
	n := 0
	for _, l := range leases {
		if l.Outcome == "confirmed" && (endpoint == "" || l.Endpoint == endpoint) {
			n++
		}
	}
	return n, err
}

func (s *show) badResult(ctx context.Context, id string) (Bad, error) {
	var b Bad
	rollout, err := s.api.Rollout(ctx, id)
	if err != nil {
		return b, err
	}
	if rollout.Phase != "tripped" || rollout.FirstHarm == nil || rollout.Ended == nil {
		return b, fault.New(fault.Internal, "play the demo: the breaker did not trip on v2; it is %s", rollout.Phase)
	}
	leases, err := s.api.Leases(ctx, id)
	if err != nil {
		return b, err
	}
	b.Leased, b.NeverExposed, b.Incident = len(leases), s.Agents-len(leases), rollout.Incident
	b.SecondsToHalt = rollout.Ended.Sub(*rollout.FirstHarm).Seconds()
	for _, l := range leases {
		switch l.Outcome {
		case "crashed", "reverted", "silent", "late":
			b.Harmed++
			if l.Recovered != nil {
				b.Recovered++
				b.recovery = max(b.recovery, l.Recovered.Sub(*rollout.FirstHarm).Seconds())
			}
		}
	}
	return b, nil
}

// table sets what happened beside what an all-at-once push would have done.
func (s *show) table(r Result) {
	s.title("What the stores say, %s after the start", s.Clock.Now().Sub(s.started).Round(time.Second))
	b := r.Bad
	rows := [][3]string{
		{"v2, the defective release", "with Firebreak", "all at once"},
		{"hosts that got it", fmt.Sprint(b.Leased), fmt.Sprint(r.Fleet)},
		{"harmed", fmt.Sprint(b.Harmed), fmt.Sprint(r.Fleet)},
		{"never exposed", fmt.Sprint(b.NeverExposed), "0"},
		{"seconds from first harm to halt", fmt.Sprintf("%.2f", b.SecondsToHalt), "as long as people take"},
		{"recovered by themselves", fmt.Sprintf("%d of %d", b.Recovered, b.Harmed), "0"},
		{"seconds from first harm to recovery", fmt.Sprintf("%.1f", b.recovery), "as long as hands take"},
	}
	for _, row := range rows {
		s.say("  %-38s %-16s %s", row[0], row[1], row[2])
	}
	s.say("\nv1 confirmed on %d of %d, v3 on %d of %d; the latecomer %s v2; incident %s", r.Good.Confirmed, r.Fleet, r.Mended.Confirmed, r.Fleet+1,
		map[bool]string{true: "ACTIVATED", false: "never activated"}[r.Latecomer.ActivatedBad], b.Incident)
}

// validator is the command that judges content before it is signed.
func (s *show) validator() string { return s.fleet.program("sensor") + " validate {dir}" }

// command runs an operator's command, and shows it and what it says.
func (s *show) command(ctx context.Context, args ...string) error {
	s.say("$ firebreak %s", strings.Join(args, " "))
	c := exec.CommandContext(ctx, s.fleet.program("firebreak"), args...) //nolint:gosec // our own binary
	c.Env = s.env
	out, err := c.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		s.say("    %s", strings.TrimRight(line, "\n"))
	}
	if err != nil {
		return fault.New(fault.Internal, "play the demo: firebreak %s: %w", args[0], err)
	}
	return nil
}

func (s *show) title(format string, args ...any) {
	s.say("\n== "+format, args...)
}

func (s *show) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Out, format+"\n", args...)
}
