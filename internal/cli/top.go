package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// lines is how high a terminal is that does not say.
const lines = 24

func (p *program) topCommand() *cobra.Command {
	return p.leaf(command{
		use: "top", short: "Watch fleet, rollouts and incidents live on the whole screen, and halt", args: cobra.NoArgs,
		long: `
Shows on the whole screen what goes on: the fleet, what needs a person, rollouts and open incidents; Enter opens a rollout. H and then
Enter halts the chosen one, H and then A everything. It is fed by the live stream and comes back by itself when the control plane was away.
Keys are explained under '?'.`,
		example: "firebreak top",
		run:     func(ctx context.Context, _ []string) error { return p.top(ctx) },
	})
}

func (p *program) top(ctx context.Context) error {
	if err := p.needScreen(); err != nil {
		return err
	}
	c, err := p.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	empty := board{
		style: p.styleOf(p.Out), now: p.Clock.Now(), width: p.width(), height: cmp.Or(p.height(), lines),
		server: strings.TrimPrefix(strings.TrimPrefix(p.address(), "http://"), "https://"),
	}
	last, err := tea.NewProgram(canvas{board: empty, do: p.doer(ctx, c)}, tea.WithContext(ctx), tea.WithInput(p.In), tea.WithOutput(p.Out),
		tea.WithEnvironment(p.environment()), tea.WithWindowSize(empty.width, empty.height), tea.WithoutSignalHandler()).Run() // signals end ctx
	switch end, ok := last.(canvas); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && errors.Is(err, tea.ErrProgramPanic):
		return fault.New(fault.Internal, "top: %w", err).Hint("The same in lines: firebreak rollout watch.")
	case err != nil || !ok:
		return err
	case end.err != nil:
		return end.err
	case end.board.halt != nil: // it went with the screen
		p.say("%s", end.board.halt.headline())
	}
	return nil
}

// needScreen refuses where there is no screen to fill, or nobody at a keyboard.
func (p *program) needScreen() error {
	_, out := p.Terminal(p.Out)
	keyboard, in := p.In.(io.Writer)
	if in {
		_, in = p.Terminal(keyboard)
	}
	if out && in && !p.json {
		return nil
	}
	return fault.New(fault.Invalid, "top: it needs a terminal to fill, and a person at its keyboard").
		Hint("In lines, or for a program: firebreak rollout watch, firebreak rollout list --json.")
}

// environment is what the terminal's abilities follow from.
func (p *program) environment() []string {
	var all []string
	for _, name := range []string{"TERM", "COLORTERM", "NO_COLOR", "TERM_PROGRAM", "TMUX", "STY", "SSH_TTY", "WT_SESSION", "LANG"} {
		if value := p.Getenv(name); value != "" {
			all = append(all, name+"="+value)
		}
	}
	return all
}

// canvas is a board on a screen: it gives it what comes, and does what it wants done.
type canvas struct {
	board board
	do    func(deed) tea.Cmd
	err   error // that ended it
}

// heard is what a stream said, and how to hear what it says next.
type heard struct {
	told
	next tea.Cmd
}

// beat is the passing of time, a second at a time.
type beat struct {
	ticked
	next tea.Cmd
}

// Init implements [tea.Model].
func (c canvas) Init() tea.Cmd { return func() tea.Msg { return started{} } }

// started is the first message.
type started struct{}

// Update implements [tea.Model].
func (c canvas) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	var next tea.Cmd
	var want deed
	switch m := message.(type) {
	case started:
		c.board, want = c.board.begin()
		next = c.do(ticked{})
	case tea.WindowSizeMsg:
		c.board, want = c.board.on(resized{m.Width, m.Height})
	case tea.KeyPressMsg:
		c.board, want = c.board.on(pressed{m.String(), m.Key().Text})
	case tea.PasteMsg:
		c.board, want = c.board.on(pressed{text: m.Content})
	case heard:
		next = m.next
		c.board, want = c.board.on(m.told)
	case beat:
		next = m.next
		c.board, want = c.board.on(m.ticked)
	default:
		c.board, want = c.board.on(message)
	}
	if end, ok := want.(leave); ok {
		c.err = end.err
	}
	return c, tea.Batch(next, c.do(want))
}

// View implements [tea.Model].
func (c canvas) View() tea.View {
	v := tea.NewView(strings.Join(c.board.picture(), "\n"))
	v.AltScreen = true
	return v
}

// doer does what a board wants done. A new stream takes the place of the one before.
func (p *program) doer(ctx context.Context, c *client.Client) func(deed) tea.Cmd {
	end := func() {}
	return func(want deed) tea.Cmd {
		switch d := want.(type) {
		case follow:
			end()
			var listen tea.Cmd
			listen, end = listenTo(ctx, c, d)
			return listen
		case sendHalt:
			return func() tea.Msg { return p.sendHalt(ctx, c, d) }
		case ticked:
			return p.tick(ctx)
		case suspend:
			return tea.Suspend
		case leave:
			return tea.Quit
		}
		return nil
	}
}

// listenTo opens a stream and gives what hears the next that it says.
func listenTo(ctx context.Context, c *client.Client, want follow) (tea.Cmd, func()) {
	ctx, cancel := context.WithCancel(ctx)
	next, _ := iter.Pull2(c.Watch(ctx, want.topics...)) // it ends with ctx
	var listen tea.Cmd
	listen = func() tea.Msg {
		event, err, ok := next()
		if !ok {
			return told{feed: want.feed, over: true}
		}
		return heard{told{feed: want.feed, event: event, err: asFault(err)}, listen}
	}
	return listen, cancel
}

func (p *program) tick(ctx context.Context) tea.Cmd {
	var again tea.Cmd
	again = func() tea.Msg {
		if p.Clock.Sleep(ctx, time.Second) != nil {
			return nil
		}
		return beat{ticked{p.Clock.Now()}, again}
	}
	return again
}

// sendHalt asks once, for a limited time: the board asks again.
func (p *program) sendHalt(ctx context.Context, c *client.Client, d sendHalt) answered {
	if d.after > 0 && p.Clock.Sleep(ctx, d.after) != nil {
		return answered{turn: d.turn, err: ctx.Err()}
	}
	once := *c
	once.Attempts = 1
	ctx, cancel := context.WithTimeout(ctx, haltPatience)
	defer cancel()
	begun := p.Clock.Now()
	halted, err := once.HaltAll(ctx, d.want)
	return answered{d.turn, halted, asFault(err), p.Clock.Now().Sub(begun)}
}
