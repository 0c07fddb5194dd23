package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/firebreak-dev/firebreak/internal/cli"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/demo"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// playDemo finds the other binaries beside this one, and the example's content in the checkout.
func playDemo(ctx context.Context, o cli.DemoOptions) error {
	if o.Bin == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		o.Bin = filepath.Dir(self)
	}
	example := filepath.Join("examples", "sensor")
	if _, err := os.Stat(filepath.Join(example, "content")); err != nil {
		return fault.New(fault.NotFound, "demo: the example's content is not here: %w", err).Hint("run it in a checkout of the repository: make demo")
	}
	return demo.Run(ctx, demo.Options{
		Exit: o.Exit, JSON: o.JSON, Agents: o.Agents, Bin: o.Bin, Example: example, Environ: os.Environ(), Out: o.Out, Clock: clock.Wall{},
	})
}
