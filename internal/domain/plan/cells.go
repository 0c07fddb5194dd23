package plan

import (
	"fmt"
	"slices"
)

// Bounds of a plan's cells.
const (
	MaxWaves = 16
	MaxCells = 64
)

// Wave is cells that expose hosts at the same time. A cell is one control plane with its own database and endpoints, such as a region's.
type Wave struct {
	Names []string `json:"names"`
	After Duration `json:"after,omitempty"` // how long the cells of the waves before must have held: complete, with a quiet alarm
}

// Wave is the place of the wave that a cell belongs to, -1 if the plan does not name the cell.
func (p Plan) Wave(cell string) int {
	return slices.IndexFunc(p.Cells, func(w Wave) bool { return slices.Contains(w.Names, cell) })
}

func (c *checker) cells(waves []Wave) {
	c.require(len(waves) <= MaxWaves, "cells", "has %d waves; %d is the most", len(waves), MaxWaves)
	var seen []string
	for i, w := range waves {
		path := fmt.Sprintf("cells[%d]", i)
		c.require(len(w.Names) > 0, path+".names", "names no cell")
		for k, name := range w.Names {
			where := fmt.Sprintf("%s.names[%d]", path, k)
			c.require(Name(name), where, "must be 1 to 63 lower-case letters, digits and dashes, is %q", name)
			c.require(!slices.Contains(seen, name), where, "is named before: %q", name)
			seen = append(seen, name)
		}
		c.require(w.After >= 0, path+".after", "must not be negative, is %s", w.After)
		c.require(i > 0 || w.After == 0, path+".after", "the first wave has nobody to wait for")
	}
	c.require(len(seen) <= MaxCells, "cells", "names %d cells; %d is the most", len(seen), MaxCells)
	c.require(len(seen) != 1, "cells", "names a single cell, which has nobody to wait for and nobody to stop; leave it out")
}

// sameWaves lists where wanted lets a cell begin sooner than signed does, or forgets one. A signed plan without cells says nothing about
// them: waiting for others is narrower.
func (c *checker) sameWaves(signed, wanted []Wave) {
	if len(signed) == 0 {
		return
	}
	c.require(len(wanted) == len(signed), "cells", "has %d waves, the signed plan has %d", len(wanted), len(signed))
	for i, w := range wanted[:min(len(wanted), len(signed))] {
		path := fmt.Sprintf("cells[%d]", i)
		c.require(sameSet(w.Names, signed[i].Names), path+".names", "are %s, the signed plan has %s", list(w.Names), list(signed[i].Names))
		c.require(w.After >= signed[i].After, path+".after", "is %s, the signed plan has %s", w.After, signed[i].After)
	}
}
