package command

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/agent"
	"github.com/firebreak-dev/firebreak/internal/endpoint/consumer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

func (p *program) exited() *cobra.Command {
	var n consumer.Noted
	c := &cobra.Command{
		Use: "exited", Short: "Note that a consumer ended badly (systemd calls it)", Args: cobra.NoArgs,
		Long: `Notes how a consumer that systemd runs has ended, if it ended badly, so that the agent blames the release for it, also if the agent does not run
now. Systemd calls it as ExecStopPost with $SERVICE_RESULT, $EXIT_CODE and $EXIT_STATUS; 'firebreak-agent drop-in' prints the whole drop-in. What
the consumer said last may come on standard input: it makes the signature that equal crashes have in common.`,
		RunE: func(*cobra.Command, []string) error {
			if (n.Component == "") == (n.Unit == "") {
				return fault.New(fault.Invalid, "exited: one of --component and --unit is needed")
			}
			return p.note(n)
		},
	}
	c.Flags().StringVar(&n.Component, "component", "", "component whose consumer ended")
	c.Flags().StringVar(&n.Unit, "unit", "", "or the systemd unit that ended, as component files name it")
	return c
}

// note writes down the end that systemd tells of in the environment.
func (p *program) note(n consumer.Noted) error {
	result, how, status := p.getenv("SERVICE_RESULT"), p.getenv("EXIT_CODE"), p.getenv("EXIT_STATUS")
	switch result {
	case "":
		return fault.New(fault.Invalid, "exited: SERVICE_RESULT is not set").Hint("let systemd call it: see 'firebreak-agent drop-in'")
	case "success", "start-limit-hit": // the second one did not run at all
		return nil
	}
	words, err := p.lastWords()
	if err != nil {
		return err
	}
	if how == "exited" {
		code, err := strconv.Atoi(status)
		if err != nil {
			return fault.New(fault.Invalid, "exited: EXIT_STATUS must be a number, is %q", status)
		}
		n.Exit = consumer.Describe(code, "", fmt.Sprintf("%s: status %d", result, code), words)
	} else { // killed or dumped
		n.Exit = consumer.Describe(-1, strings.TrimPrefix(status, "SIG"), strings.TrimRight(result+": signal "+status, " "), words)
	}
	n.Exit.At = clock.Wall{}.Now().UTC()
	return consumer.Exits{FS: disk.OS{}, Dir: filepath.Join(p.state, agent.ExitsDir)}.Note(n)
}

// lastWords reads the end of what stands on standard input.
func (p *program) lastWords() (string, error) {
	const most, kept = 1 << 20, 32 << 10
	if p.In == nil {
		return "", nil
	}
	data, err := io.ReadAll(io.LimitReader(p.In, most))
	if err != nil {
		return "", fmt.Errorf("exited: read what the consumer said: %w", err)
	}
	return strings.ToValidUTF8(string(data[max(0, len(data)-kept):]), "?"), nil
}

// dropInText is for a unit. Systemd never gives up on the consumer, it only takes its time: how often is too often the agent decides, which
// goes back to the release before and starts the consumer again. A consumer whose host is in safe mode stays down.
const dropInText = `# Lets Firebreak see how %[1]s ends. Put it into /etc/systemd/system/%[1]s.d/firebreak.conf, then run 'systemctl daemon-reload'.
[Unit]
After=firebreak-guard.service
ConditionPathExists=!/run/firebreak/safe-mode
StartLimitIntervalSec=0

[Service]
RestartSec=5s
ExecStopPost=-+/bin/sh -c 'journalctl -q -o cat -n 200 _SYSTEMD_INVOCATION_ID="$INVOCATION_ID" 2>/dev/null | /usr/bin/firebreak-agent exited%[2]s --unit %%n'
`

func (p *program) dropIn() *cobra.Command {
	return &cobra.Command{
		Use: "drop-in UNIT", Short: "Print a drop-in for the unit of a consumer", Args: cobra.ExactArgs(1),
		Long: `Prints a drop-in for the systemd unit of a consumer: it starts after the boot guard and not in safe mode, and what it ends with is noted for the
agent.`,
		Example: "  mkdir -p /etc/systemd/system/sensor.service.d && firebreak-agent drop-in sensor.service > /etc/systemd/system/sensor.service.d/firebreak.conf",
		RunE: func(_ *cobra.Command, args []string) error {
			unit, state := args[0], ""
			if strings.ContainsAny(unit, "/ \n\"'%$") || unit == "" || unit[0] == '-' {
				return fault.New(fault.Invalid, "drop-in: %q is no name of a unit", unit)
			}
			if !strings.Contains(unit, ".") {
				unit += ".service"
			}
			if p.state != p.defaultState() || p.Home != "" {
				state = " --state " + p.state
			}
			_, err := fmt.Fprintf(p.Out, dropInText, unit, state)
			return err
		},
	}
}
