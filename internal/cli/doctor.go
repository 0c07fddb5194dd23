package cli

import (
	"context"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/control/doctor"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func (p *program) doctorCommand() *cobra.Command {
	var o doctor.Options
	var database string
	var alive bool
	c := p.leaf(command{
		use: "doctor", short: "Find what is wrong with an installation, and say what to do", args: cobra.NoArgs,
		long: `
Looks at a data directory: owner and modes, disk, lock, database and schema, keys and whether they are the ones that were
used, what expires, artifacts, clock. With --server (or FIREBREAK_SERVER) it also asks a running server. It changes nothing
and may run beside the server, as the same user or as root.

Exit code 0 if nothing is wrong, be there warnings or not; 1 if something is.`,
		example: `firebreak doctor --data /var/lib/firebreak
			firebreak doctor --data /var/lib/firebreak --server http://127.0.0.1:7080 --metrics http://127.0.0.1:7090 --all`,
		run: func(ctx context.Context, _ []string) error {
			if alive {
				return p.alive(ctx)
			}
			o.Now, o.Elsewhere = p.Clock.Now(), database != ""
			o.Server = first(p.server, p.Getenv("FIREBREAK_SERVER"))
			findings := doctor.Run(ctx, o)
			worst := doctor.Worst(findings)
			err := p.show(struct {
				Worst    doctor.State     `json:"worst"`
				Findings []doctor.Finding `json:"findings"`
			}{worst, findings}, func() { p.sayFindings(findings) })
			if err == nil && worst == doctor.Wrong {
				return exitCode(ExitFailed)
			}
			return err
		},
	})
	flags := c.Flags()
	flags.StringVar(&o.Data, "data", "firebreak-data", "data directory of the control plane")
	flags.StringVar(&o.Keys, "keys-dir", "", "directory with the control plane's keys (default: keys in the data directory)")
	flags.StringVar(&database, "database", "", "URL of the PostgreSQL database, if the installation has one; ask the server about it with --server")
	flags.StringVar(&o.Private, "metrics", "", "base URL of the server's private port, to look for its metrics")
	flags.StringVar(&o.Agents, "agents", "", "host:port of the server's agent port, to look at its certificate")
	flags.StringSliceVar(&o.Listen, "listen", nil, "address that a server is about to listen on; may be given several times")
	flags.BoolVar(&o.All, "all", false, "look at every page of the database and every byte of the artifacts")
	flags.BoolVar(&alive, "alive", false, "only ask whether the server's process lives; for health checks of containers")
	return c
}

// alive asks whether the server lives, whatever its database does. It needs no token.
func (p *program) alive(ctx context.Context) error {
	const patience = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	url := first(p.server, p.Getenv("FIREBREAK_SERVER"), defaultServer) + "/healthz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fault.New(fault.Invalid, "ask whether the server lives: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fault.New(fault.Unavailable, "ask whether the server lives: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fault.New(fault.Unavailable, "ask whether the server lives: %s answers %s", url, response.Status)
	}
	p.say("it lives")
	return nil
}

func (p *program) sayFindings(findings []doctor.Finding) {
	style := p.styleOf(p.Out)
	t := newTable("STATE", "CHECK", "FOUND")
	wrong, warnings := 0, 0
	for _, f := range findings {
		switch f.State {
		case doctor.Wrong:
			wrong++
		case doctor.Warning:
			warnings++
		case doctor.OK, doctor.Skipped:
		}
		t.add(string(f.State), f.Check, f.Found)
		if f.Next != "" {
			t.note("next: " + f.Next)
		}
	}
	t.print(p)
	p.say("")
	switch {
	case wrong > 0:
		p.say("%s", style.red(plural(int64(wrong), "thing")+" wrong")+", "+plural(int64(warnings), "warning"))
	case warnings > 0:
		p.say("nothing is wrong; %s", plural(int64(warnings), "warning"))
	default:
		p.say("nothing is wrong")
	}
}
