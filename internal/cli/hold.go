package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

func (p *program) rolloutHold() *cobra.Command {
	return p.holding("hold", "Keep a rollout from the hosts that a selector picks", `
Keeps the release from the hosts that match every --select: they get no lease, and those that have the release go back
to what they ran before. The others go on. The breaker does the same by itself when one stratum is harmed and the rest
of the fleet is well. 'firebreak rollout unhold' lifts it.`,
		"firebreak rollout hold ro-4q2k --select os=windows --select kernel=10.0.26100,10.0.22631 --reason 'blue screens in Graz'",
		(*client.Client).Hold, func(r api.Rollout, selects fleet.Selector) {
			p.say("%s %s is held for %s; hosts of these that have it go back", r.Component, r.Version, selects)
			p.say("lift it: firebreak rollout unhold %s%s", r.ID, selectFlags(selects))
		})
}

func (p *program) rolloutUnhold() *cobra.Command {
	return p.holding("unhold", "Lift a hold, an operator's or the breaker's", `
Lifts the hold that was put on the same selector, by an operator or by the breaker: its hosts are offered the release
again, as far as ring and window have room. 'firebreak rollout show' lists holds with the flags that lift them.`,
		"firebreak rollout unhold ro-4q2k --select os=windows --reason 'driver was mended'",
		(*client.Client).Unhold, func(r api.Rollout, selects fleet.Selector) {
			p.say("%s %s is not held for %s any more; they can have it again", r.Component, r.Version, selects)
		})
}

func (p *program) holding(name, short, long, example string,
	do func(*client.Client, context.Context, string, map[string][]string, string) (api.Rollout, error), say func(api.Rollout, fleet.Selector),
) *cobra.Command {
	var reason string
	var selects []string
	c := p.leaf(command{
		use: name + " ID", short: short, long: long, args: cobra.ExactArgs(1), ids: p.rolloutIDs, lists: "firebreak rollout list",
		example: example,
		run: func(ctx context.Context, args []string) error {
			selector, err := selectorOf(selects)
			if err != nil {
				return err
			}
			c, err := p.connect()
			if err != nil {
				return err
			}
			r, err := do(c, ctx, args[0], selector, reason)
			if err != nil {
				return hinted(err, fault.Conflict, "See how it stands: firebreak rollout show %s.", args[0])
			}
			return p.show(r, func() { say(r, selector) })
		},
	})
	c.Flags().StringArrayVar(&selects, "select", nil, `key=value[,value]: hosts whose key has one of the values; "\," is a comma in a value; `+
		"several must all match. Keys: tenant, consumer, os, version, kernel, arch, class, region, site, label.NAME")
	c.Flags().StringVar(&reason, "reason", "", "why, for the record and for the owners of the hosts; a hold needs one")
	return c
}

// selectorOf reads --select flags, and lists all that are wrong.
func selectorOf(flags []string) (fleet.Selector, error) {
	if len(flags) == 0 {
		return nil, fault.New(fault.Invalid, "read selector: --select is missing").Hint("Say whom, as in --select os=windows.")
	}
	selector := fleet.Selector{}
	var problems []fault.Problem
	for _, flag := range flags {
		key, values, found := strings.Cut(flag, "=")
		if !found || key == "" {
			problems = append(problems, fault.Problem{Path: "--select " + flag, Message: "must be key=value[,value]"})
			continue
		}
		selector[key] = append(selector[key], splitValues(values)...)
	}
	problems = append(problems, selector.Check("--select")...)
	return selector, fault.Problems("read selector", problems)
}

// splitValues cuts at commas; a backslash takes the next character as it is.
func splitValues(text string) []string {
	var values []string
	var value strings.Builder
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			value.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == ',':
			values = append(values, value.String())
			value.Reset()
		default:
			value.WriteRune(r)
		}
	}
	return append(values, value.String())
}

// selectFlags writes a selector as the flags that a shell takes for it, each with a space before it.
func selectFlags(selector fleet.Selector) string {
	escape := strings.NewReplacer(`\`, `\\`, ",", `\,`)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		values := slices.Clone(selector[key])
		for i := range values {
			values[i] = escape.Replace(values[i])
		}
		fmt.Fprintf(&b, " --select %s", quoted(key+"="+strings.Join(values, ",")))
	}
	return b.String()
}

// quoted is a word for a shell.
func quoted(word string) string {
	plain := strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.=,/:@+") == ""
	if plain && word != "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
