package app

import (
	"fmt"
	"io"
	"os"

	"github.com/firebreak-dev/firebreak/internal/control/cells"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

const maxTokens = 64 << 10 // bytes of the file with the peers' tokens

// openCells finds out which cell this is, and who its peers are.
func (a *App) openCells() (*cells.Cells, error) {
	if a.Cell != "" && !plan.Name(a.Cell) {
		return nil, fault.New(fault.Invalid, "serve as cell %q: a name must be 1 to 63 lower-case letters, digits and dashes", a.Cell)
	}
	if a.Cell == "" && len(a.Peers) > 0 {
		return nil, fault.New(fault.Invalid, "serve with peers: this control plane has no name among them").Hint("name it with --cell")
	}
	tokens := ""
	if a.PeerTokens != "" {
		file, err := os.Open(a.PeerTokens)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read the tokens of peers: %w", err)
		}
		data, err := io.ReadAll(io.LimitReader(file, maxTokens))
		_ = file.Close()
		if err != nil {
			return nil, fmt.Errorf("read the tokens of peers: %w", err)
		}
		tokens = string(data)
	}
	peers, err := cells.Peers(a.Peers, tokens)
	if err != nil {
		return nil, err
	}
	for _, p := range peers {
		if p.Name == a.Cell {
			return nil, fault.New(fault.Invalid, "serve as cell %s: it is its own peer", a.Cell).Hint("give a --peer for each of the other cells")
		}
	}
	return cells.New(cells.Options{Peers: peers, Every: a.PeerEvery, Fresh: 4 * a.PeerEvery, Clock: a.Clock, Log: component(a.Log, "cells")})
}
