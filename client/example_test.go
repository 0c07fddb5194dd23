package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

// A rollout is started, looked at and halted.
func Example() {
	world, leave := servertest.Stage() // in your program: the URL of your control plane and an operator's token
	defer leave()
	ctx := context.Background()

	c, err := client.New(world.URL, world.Token)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := c.StartRollout(ctx, api.StartRollout{Component: "sensor-content", Version: "2", Reason: "monday"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Phase, r.Rings[0].Name, r.Window)
	r, err = c.Halt(ctx, r.ID, "not today")
	fmt.Println(r.Phase, err)
	// Output:
	// running canary 2
	// halted <nil>
}

// An error says what went wrong, what to do next, and where a document is mistaken.
func ExampleError() {
	world, leave := servertest.Stage()
	defer leave()
	c, err := client.New(world.URL, world.Token)
	if err != nil {
		fmt.Println(err)
		return
	}

	_, err = c.PutPlan(context.Background(), "quick", []byte("name: quick\nrings:\n  - {name: all, share: 2}\n"))
	var e *client.Error
	if errors.As(err, &e) && e.Kind == client.Invalid {
		for _, p := range e.Problems {
			fmt.Printf("line %d, %s: %s\n", p.Line, p.Path, p.Message)
		}
	}
	_, err = c.Rollout(context.Background(), "ro-9")
	fmt.Println(client.KindOf(err), err)
	// Output:
	// line 2, rings: has a single ring, which is an all-at-once push; put a small one before it
	// line 3, rings[0].share: is a share; must be between 0 and 1, is 2
	// line 3, rings[0].share: the first ring must be an absolute number of hosts: a share of a large fleet is many
	// not_found find rollout "ro-9": there is none
}

// A command that is only meant for what was seen is refused if the rollout went on meanwhile.
func ExampleClient_IfMatch() {
	world, leave := servertest.Stage()
	defer leave()
	ctx := context.Background()
	c, err := client.New(world.URL, world.Token)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := c.StartRollout(ctx, api.StartRollout{Component: "sensor-content", Version: "2"})
	if err != nil {
		fmt.Println(err)
		return
	}

	var seen string
	if _, err = c.NoteTag(&seen).Rollout(ctx, r.ID); err != nil {
		fmt.Println(err)
		return
	}
	if _, err = c.Pause(ctx, r.ID, "somebody else was faster"); err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.IfMatch(seen).RollBack(ctx, r.ID, "it looked bad")
	if e, ok := errors.AsType[*client.Error](err); ok {
		before, _, _ := strings.Cut(e.Message, " at 2") // behind it: when it was paused, by whom, and why
		fmt.Println(e.Status, before)
	}
	// Output:
	// 412 rollback rollout ro-1: you saw it at revision 1; it is paused, at revision 2; last of all: paused
}

// Long lists come page by page.
func ExampleClient_FindEndpoints() {
	world, leave := servertest.Stage()
	defer leave()
	ctx := context.Background()
	c, err := client.New(world.URL, world.Token)
	if err != nil {
		fmt.Println(err)
		return
	}

	filter := client.EndpointFilter{Select: map[string][]string{"site": {"site-1"}}, Component: "sensor-content"}
	n, estimated, err := c.CountEndpoints(ctx, filter)
	fmt.Println(n, estimated, err)
	for e, err := range c.FindEndpoints(ctx, filter) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.ID, e.Components["sensor-content"].Version)
	}
	// Output:
	// 4 false <nil>
	// ep-001 0
	// ep-004 0
	// ep-007 0
	// ep-010 0
}
