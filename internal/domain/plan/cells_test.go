package plan_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

func wave(after time.Duration, names ...string) plan.Wave {
	return plan.Wave{Names: names, After: plan.Duration(after)}
}

func TestCheckCells(t *testing.T) {
	t.Parallel()
	many := make([]plan.Wave, plan.MaxWaves+1)
	for i := range many {
		many[i] = wave(0, string(rune('a'+i)))
	}
	crowd := plan.Wave{}
	for i := range plan.MaxCells + 1 {
		crowd.Names = append(crowd.Names, string(rune('a'+i/26))+string(rune('a'+i%26)))
	}
	for name, test := range map[string]struct {
		waves []plan.Wave
		want  []string
	}{
		"none":             {nil, nil},
		"three":            {[]plan.Wave{wave(0, "canary"), wave(time.Hour, "eu", "us"), wave(0, "apac")}, nil},
		"one wave":         {[]plan.Wave{wave(0, "eu", "us")}, nil},
		"a single cell":    {[]plan.Wave{wave(0, "eu")}, []string{"cells"}},
		"an empty wave":    {[]plan.Wave{wave(0, "eu"), wave(0), wave(0, "us")}, []string{"cells[1].names"}},
		"a bad name":       {[]plan.Wave{wave(0, "eu"), wave(0, "U S")}, []string{"cells[1].names[0]"}},
		"named twice":      {[]plan.Wave{wave(0, "eu", "us"), wave(0, "eu")}, []string{"cells[1].names[0]"}},
		"negative":         {[]plan.Wave{wave(0, "eu"), wave(-1, "us")}, []string{"cells[1].after"}},
		"the first waits":  {[]plan.Wave{wave(1, "eu"), wave(0, "us")}, []string{"cells[0].after"}},
		"too many waves":   {many, []string{"cells"}},
		"too many of them": {[]plan.Wave{crowd}, []string{"cells"}},
	} {
		p := sound()
		p.Cells = test.waves
		if diff := cmp.Diff(test.want, paths(p.Check())); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s", name, diff)
		}
	}
}

func TestWave(t *testing.T) {
	t.Parallel()
	p := plan.Plan{Cells: []plan.Wave{wave(0, "canary"), wave(0, "eu", "us")}}
	for cell, want := range map[string]int{"canary": 0, "us": 1, "apac": -1, "": -1} {
		if got := p.Wave(cell); got != want {
			t.Errorf("wave of %q: got %d, want %d", cell, got, want)
		}
	}
}

// No cell begins sooner than the signed plan says, and none is forgotten; where it says nothing, cells may be made to wait.
func TestWithinHoldsTheCells(t *testing.T) {
	t.Parallel()
	signed := []plan.Wave{wave(0, "canary"), wave(time.Hour, "eu", "us")}
	for name, test := range map[string]struct {
		signed, wanted []plan.Wave
		want           []string
	}{
		"none":         {nil, nil, nil},
		"none signed":  {nil, signed, nil},
		"the same":     {signed, []plan.Wave{wave(0, "canary"), wave(time.Hour, "us", "eu")}, nil},
		"later":        {signed, []plan.Wave{wave(0, "canary"), wave(2*time.Hour, "us", "eu")}, nil},
		"sooner":       {signed, []plan.Wave{wave(0, "canary"), wave(time.Minute, "us", "eu")}, []string{"cells[1].after"}},
		"without them": {signed, nil, []string{"cells"}},
		"forgets one":  {signed, []plan.Wave{wave(0, "canary"), wave(time.Hour, "us")}, []string{"cells[1].names"}},
		"all at once":  {signed, []plan.Wave{wave(0, "canary", "eu", "us")}, []string{"cells", "cells[0].names"}},
	} {
		was, wanted := sound(), sound()
		was.Cells, wanted.Cells = test.signed, test.wanted
		if diff := cmp.Diff(test.want, paths(plan.Within(was, wanted))); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s", name, diff)
		}
	}
}
