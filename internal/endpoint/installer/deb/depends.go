package deb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// need is one alternative of a dependency, or one thing that a package provides.
type need struct{ name, op, version string }

func (n need) String() string {
	if n.op == "" {
		return n.name
	}
	return fmt.Sprintf("%s (%s %s)", n.name, n.op, n.version)
}

// parseNeeds reads a field such as "a (>= 1) | b, c:any": all of the outer list are needed, one of each inner.
func parseNeeds(field string) [][]need {
	var all [][]need
	for clause := range strings.SplitSeq(field, ",") {
		var anyOf []need
		for alternative := range strings.SplitSeq(clause, "|") {
			name, rest, _ := strings.Cut(alternative, "(")
			name, _, _ = strings.Cut(strings.TrimSpace(name), ":")
			rest, _, _ = strings.Cut(rest, ")")
			op := strings.TrimRight(rest[:strings.IndexFunc(rest+"0", isVersion)], " ")
			if name != "" {
				anyOf = append(anyOf, need{name: name, op: op, version: strings.TrimSpace(rest[len(op):])})
			}
		}
		if len(anyOf) > 0 {
			all = append(all, anyOf)
		}
	}
	return all
}

// isVersion tells where the operator ends.
func isVersion(r rune) bool { return !strings.ContainsRune("<=> ", r) }

// object implements [system]. dpkg says itself what it would refuse before it unpacks anything; dependencies it would look at only
// after that, so they are looked at here.
func (d *dpkg) object(ctx context.Context, parcels []parcel) ([]fault.Problem, error) {
	var problems []fault.Problem
	a := assembly{dpkg: d, parcels: parcels}
	for _, p := range parcels {
		out, err := d.ask(ctx, "dpkg-deb", "--field", p.path, "Pre-Depends", "Depends", "Provides")
		if err != nil {
			return nil, fault.New(fault.Unavailable, "read package %s: %w", p.path, err)
		}
		if len(out) >= process.TailSize {
			return nil, fault.New(fault.Invalid, "read package %s: what it depends on and provides is longer than %d bytes", p.path, process.TailSize)
		}
		for line := range strings.Lines(strings.ReplaceAll(out, "\n ", " ")) {
			field, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			a.add(p, field, value)
		}
	}
	missing, err := a.unmet(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range missing {
		problems = append(problems, fault.Problem{Path: m.parcel.name, Message: fmt.Sprintf("needs %s, which is not installed", join(m.anyOf))})
	}
	broken, err := a.dependants(ctx)
	if err != nil {
		return nil, err
	}
	if problems = append(problems, broken...); len(problems) > 0 {
		return problems, nil
	}
	return d.rehearse(ctx, parcels)
}

// rehearse lets dpkg say what it would refuse.
func (d *dpkg) rehearse(ctx context.Context, parcels []parcel) ([]fault.Problem, error) {
	argv := append(d.command(), "--no-act", "--install")
	for _, p := range parcels {
		argv = append(argv, p.path)
	}
	_, err := d.ask(ctx, argv...)
	switch {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil || fault.KindOf(err) == fault.Unavailable:
		return nil, err
	default:
		return []fault.Problem{{Message: err.Error()}}, nil
	}
}

func join(anyOf []need) string {
	words := make([]string, 0, len(anyOf))
	for _, n := range anyOf {
		words = append(words, n.String())
	}
	return strings.Join(words, " or ")
}

// assembly is a release's packages on this host.
type assembly struct {
	*dpkg
	parcels  []parcel
	needs    []clause
	provides []need
}

type clause struct {
	parcel parcel
	anyOf  []need
}

func (a *assembly) add(p parcel, field, value string) {
	for _, anyOf := range parseNeeds(value) {
		if field == "Provides" {
			a.provides = append(a.provides, anyOf...)
		} else {
			a.needs = append(a.needs, clause{p, anyOf})
		}
	}
}

func (a *assembly) unmet(ctx context.Context) ([]clause, error) {
	var missing []clause
	for _, c := range a.needs {
		met, err := a.met(ctx, c.anyOf)
		if err != nil {
			return nil, err
		}
		if !met {
			missing = append(missing, c)
		}
	}
	return missing, nil
}

func (a *assembly) met(ctx context.Context, anyOf []need) (bool, error) {
	for _, n := range anyOf {
		if met, err := a.has(ctx, n); err != nil || met {
			return met, err
		}
	}
	return false, nil
}

// has tells whether the release brings a thing, or the host has it.
func (a *assembly) has(ctx context.Context, n need) (bool, error) {
	at := slices.IndexFunc(a.parcels, func(p parcel) bool { return p.name == n.name })
	if at >= 0 {
		return a.fits(ctx, a.parcels[at].version, n)
	}
	s, err := a.query(ctx, n.name)
	if err != nil {
		return false, err
	}
	if s.whole {
		if fits, unsure := a.fits(ctx, s.version, n); unsure != nil || fits {
			return fits, unsure
		}
	}
	provided, err := a.provided(ctx, n.name)
	if err != nil {
		return false, err
	}
	for _, p := range append(provided, a.provides...) {
		if p.name != n.name || n.op != "" && p.version == "" {
			continue
		}
		if fits, err := a.fits(ctx, p.version, n); err != nil || fits {
			return fits, err
		}
	}
	return false, nil
}

// provided lists what installed packages provide under a name.
func (a *assembly) provided(ctx context.Context, name string) ([]need, error) {
	const script = `dpkg-query --admindir="$0" --show --showformat='${db:Status-Status}\t${Provides}\n' | awk -F '\t' -v name="$1" '
$1 == "installed" { n = split($2, c, ","); for (i = 1; i <= n; i++) if (index(c[i], name) && !seen[c[i]]++) print c[i] }'`
	out, err := a.ask(ctx, "sh", "-c", script, a.admin(), name)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "look for what provides %s: %w", name, err)
	}
	return slices.Concat(parseNeeds(strings.ReplaceAll(out, "\n", ","))...), nil
}

// dependants lists installed packages that would not accept the versions of the release. It looks at those that name a version only:
// no release takes a package away that it names.
func (a *assembly) dependants(ctx context.Context) ([]fault.Problem, error) {
	const script = `dpkg-query --admindir="$0" --show --showformat='${db:Status-Status}\t${Package}\t${Pre-Depends},${Depends}\n' | awk -F '\t' -v name="$1" '
$1 == "installed" { n = split($3, c, ","); for (i = 1; i <= n; i++) if (index(c[i], name) && index(c[i], "(") && !seen[c[i]]++) print $2 ":" c[i] }'`
	var problems []fault.Problem
	for _, p := range a.parcels {
		out, err := a.ask(ctx, "sh", "-c", script, a.admin(), p.name)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "look for what depends on %s: %w", p.name, err)
		}
		for line := range strings.Lines(out) {
			who, field, _ := strings.Cut(strings.TrimSpace(line), ":")
			for _, anyOf := range parseNeeds(field) {
				if !slices.ContainsFunc(anyOf, func(n need) bool { return n.name == p.name }) || a.brings(who) {
					continue
				}
				met, err := a.met(ctx, anyOf)
				if err != nil {
					return nil, err
				}
				if !met {
					problems = append(problems, fault.Problem{Path: p.name, Message: fmt.Sprintf("%s, which is installed, needs %s", who, join(anyOf))})
				}
			}
		}
	}
	return problems, nil
}

func (a *assembly) brings(name string) bool {
	return slices.ContainsFunc(a.parcels, func(p parcel) bool { return p.name == name })
}

// fits compares a version as dpkg does. Provided things without a version fit where none is asked for.
func (a *assembly) fits(ctx context.Context, version string, n need) (bool, error) {
	if n.op == "" {
		return true, nil
	}
	_, err := a.ask(ctx, "dpkg", "--compare-versions", version, n.op, n.version)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil || fault.KindOf(err) == fault.Unavailable:
		return false, err
	default:
		return false, nil
	}
}
