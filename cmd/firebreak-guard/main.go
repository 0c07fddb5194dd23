// Command firebreak-guard brings a host back that does not get through its boots, and chooses the agent that runs on it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// version is set when a release is built.
var version = "devel"

const (
	failed = 1
	misuse = 2
)

const help = `firebreak-guard brings a host back that does not get through its boots.

  boot       count this boot, and go back if it is time (early in the boot; always ends well)
  bless      wait, look at the host, and end the count of boots if nothing is worse
  deadline   reboot a host that hangs while something is pending
  launch     run the agent, and the last good one when it keeps failing
  planned    say that the next boot is wanted, so that it is not counted
  status     show how the guard stands
  rehearse   prove on this host, without changing it, that the way back works
  rescue     go back on the mounted disk of a host that does not boot
  version    show the version

firebreak-guard COMMAND --help tells more. The file DIR/disabled, or firebreak.disable on the kernel's command line, keeps the guard from
doing anything.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is one command. It defines its flags and returns what to do once they are parsed.
type command func(h *guard.Host, flags *flag.FlagSet) func(ctx context.Context, out io.Writer) int

func commands() map[string]command {
	return map[string]command{
		"boot": boot, "bless": bless, "deadline": deadline, "launch": launch, "planned": planned, "status": status, "rehearse": rehearse,
		"rescue": rescue,
	}
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(out, help)
		return 0
	}
	name, args := args[0], args[1:]
	if name == "version" {
		fmt.Fprintln(out, version)
		return 0
	}
	define, known := commands()[name]
	if !known {
		fmt.Fprintf(errs, "there is no command %q\n\n%s", name, help)
		return misuse
	}
	h := host(errs)
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&h.Dir, "dir", h.Dir, "the guard's `directory`, as the host names it")
	do := define(&h, flags)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case name == "boot": // a word too many must not keep the guard from its work
	case err != nil:
		return misuse
	case name != "launch" && flags.NArg() > 0:
		fmt.Fprintf(errs, "%s: %q is a word too many\n", name, flags.Arg(0))
		return misuse
	}
	return do(ctx, out)
}

func host(log io.Writer) guard.Host {
	return guard.Host{
		FS: disk.OS{}, Dir: "/var/lib/firebreak-guard", Run: "/run/firebreak", Proc: "/proc", Sys: "/sys", Clock: clock.Wall{}, Log: log,
		Command: func(ctx context.Context, argv ...string) (string, error) {
			return process.Run(ctx, process.Command{Argv: argv, Timeout: 10 * time.Second})
		},
	}
}

// about is what --help says before it lists the flags.
func about(flags *flag.FlagSet, text string) {
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "%s\n\nFlags:\n", strings.TrimSpace(text))
		flags.PrintDefaults()
	}
}

// complain tells what went wrong and what to do next.
func complain(out io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(out, "firebreak-guard: %v\n", err)
	if next := fault.NextOf(err); next != "" {
		fmt.Fprintf(out, "next: %s\n", next)
	}
	return failed
}

func boot(h *guard.Host, flags *flag.FlagSet) func(context.Context, io.Writer) int {
	about(flags, `
firebreak-guard boot counts this boot. When 3 boots in a row were not blessed (2 if the kernel or the watchdog left evidence of a crash),
it goes back from all that is pending; 2 boots later from all that was activated within 7 days; 2 later, if there is anything left to go
back from, to what came with the host, in safe mode; 2 later it does nothing any more. It always exits with 0, within 8 seconds.`)
	stage := flags.Int("stage", int(guard.Unit), "1 in an initramfs, with --root; 2 as the first unit")
	flags.StringVar(&h.Root, "root", "", "where the root file `system` of the host is mounted")
	path := flags.String("log", "/dev/kmsg", "where to log, a `file` that exists; otherwise standard error")
	return func(ctx context.Context, _ io.Writer) int {
		if guard.Stage(*stage) == guard.Initramfs {
			h.Mounts = guard.Kernel{}
		}
		if log, err := os.OpenFile(*path, os.O_WRONLY|os.O_APPEND, 0); err == nil { //nolint:gosec // whoever calls says where
			h.Log = log
		}
		guard.Boot(ctx, *h, guard.Stage(*stage))
		return 0
	}
}

func bless(h *guard.Host, flags *flag.FlagSet) func(context.Context, io.Writer) int {
	about(flags, `
firebreak-guard bless waits, looks at the host (failed units, restarts, the kernel's taint, pressure, default route, names), and declares
the boot good unless something is worse than when a boot was blessed last. What cannot be judged is not bad. The third boot that is worse
is good if nothing is pending, or if it is no worse than before that was activated. It exits with 1 if the boot is not blessed, and says why.`)
	var b guard.Blessing
	flags.DurationVar(&b.Wait, "wait", 2*time.Minute, "how long the host has to settle")
	flags.DurationVar(&b.Again, "again", 10*time.Second, "how long to wait before looking again when something is worse; it looks 3 times")
	flags.StringVar(&b.Name, "name", "", "a `name` that must be resolved; by default one that needs no server")
	flags.Func("unit", "a `unit` whose restarts are counted; may be repeated", func(unit string) error {
		b.Units = append(b.Units, unit)
		return nil
	})
	return func(ctx context.Context, out io.Writer) int { return guard.Bless(ctx, *h, b, out) }
}

func deadline(h *guard.Host, flags *flag.FlagSet) func(context.Context, io.Writer) int {
	about(flags, `
firebreak-guard deadline reboots a host that hangs: nothing has judged this boot, no file system is being checked, something is pending, and it
was done less than 4 times since a boot was blessed.`)
	return func(ctx context.Context, out io.Writer) int { return guard.Deadline(ctx, *h, out) }
}

func planned(h *guard.Host, flags *flag.FlagSet) func(context.Context, io.Writer) int {
	about(flags, `firebreak-guard planned says that the next boot is wanted: it is not counted, once.`)
	return func(_ context.Context, out io.Writer) int {
		book, err := guard.Open(h.FS, h.Dir) //nolint:contextcheck // its lock is waited for within a limit of its own
		if err == nil {
			err = errors.Join(book.Plan(), book.Close()) //nolint:contextcheck // its lock is waited for within a limit of its own
		}
		return complain(out, err)
	}
}

// components is the flag for where the agent's components lie.
func components(flags *flag.FlagSet) *string {
	return flags.String("components", "/var/lib/firebreak-agent/components", "`directory` of the agent's components, as the host names it")
}

func status(h *guard.Host, flags *flag.FlagSet) func(context.Context, io.Writer) int {
	about(flags, `firebreak-guard status shows the count of boots, the ladder, and what each component goes back to. It changes nothing.`)
	asJSON, dir := flags.Bool("json", false, "as JSON"), components(flags)
	flags.StringVar(&h.Root, "root", "", "where the root file `system` of the host is mounted")
	return func(_ context.Context, out io.Writer) int {
		s, err := guard.Look(*h, *dir)
		switch {
		case err != nil:
			return complain(out, err)
		case *asJSON:
			return complain(out, s.JSON(out))
		default:
			return complain(out, s.Text(out))
		}
	}
}

func rehearse(h *guard.Host, flags *flag.FlagSet) func(context.Context, io.Writer) int {
	about(flags, `
firebreak-guard rehearse switches a scratch component and goes back, by the code that a boot runs, and looks that every component has what
its way back needs. Nothing of the host changes. It exits with 1 if anything fails.`)
	return func(_ context.Context, out io.Writer) int {
		if !guard.Rehearse(*h, out) { //nolint:contextcheck // its lock is waited for within a limit of its own
			return failed
		}
		return 0
	}
}

func rescue(h *guard.Host, flags *flag.FlagSet) func(context.Context, io.Writer) int {
	about(flags, `
firebreak-guard rescue --root MOUNTPOINT goes back on the disk of a host that does not boot, as its own guard would, and begins the count
of its boots anew. It shows what it would do, and does it with --yes. What is left is refused by the agent from then on; nothing is deleted.`)
	var r guard.Rescuing
	flags.StringVar(&h.Root, "root", "", "where the root file `system` of the host is mounted")
	flags.IntVar(&r.Level, "level", 1, "1: what is pending; 2: also what was activated within 7 days; 3: all, to what came with the host")
	flags.BoolVar(&r.Disable, "disable", false, "also keep the guard from doing anything on that host")
	flags.BoolVar(&r.Yes, "yes", false, "do it")
	flags.StringVar(&r.Report, "report", "", "also write the report to this `file`")
	dir := components(flags)
	return func(ctx context.Context, out io.Writer) int {
		if h.Root == "" || r.Level < 1 || r.Level > 3 {
			fmt.Fprintln(flags.Output(), "rescue: --root is needed, and --level is 1, 2 or 3")
			return misuse
		}
		r.Components = *dir
		h.Proc = "/nonexistent" // the command line and the boot are those of the medium
		return complain(out, guard.Rescue(ctx, *h, r, out))
	}
}
