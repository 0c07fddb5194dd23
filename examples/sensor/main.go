// Command sensor is a small endpoint sensor, the consumer in Firebreak's demo.
//
// It loads detection content from a directory, matches events with it, and dies of content that names an input it does
// not have. It knows nothing of Firebreak: it is told about new content by SIGHUP, and says over HTTP what it loaded.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/firebreak-dev/firebreak/examples/sensor/detection"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit codes of a process that ends by itself. A crash ends it with the Go runtime's own code, 2.
const (
	exitFine    = 0
	exitFailed  = 1 // also: the content was rejected
	exitMisused = 64
)

// run is main without the process: it takes the arguments after the program's name and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := command(ctx, args, stdout, stderr)
	var misuse *misuseError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitFine
	case errors.As(err, &misuse):
		fmt.Fprintf(stderr, "sensor: %v\n", err)
		return exitMisused
	default:
		fmt.Fprintf(stderr, "sensor: %v\n", err)
		return exitFailed
	}
}

// misuseError is a mistake on the command line.
type misuseError struct{ reason string }

func (e *misuseError) Error() string { return e.reason }

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "validate" {
		return validate(args[1:], stdout, stderr)
	}
	return serve(ctx, args, stderr)
}

func validate(args []string, stdout, stderr io.Writer) error {
	flags := newFlags("sensor validate [--trust-definition] DIR", stderr)
	trust := flags.Bool("trust-definition", false,
		"take the content's own word for the number of inputs instead of the sensor's (as on 19 July 2024)")
	if err := parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return &misuseError{"validate: want exactly one directory; see sensor validate --help"}
	}
	source, whose := detection.Sensor, "the sensor's"
	if *trust {
		source, whose = detection.Definition, "the definition's"
	}
	content, err := detection.Load(flags.Arg(0))
	if err != nil {
		return fmt.Errorf("rejected: %w", err)
	}
	if err = detection.Validate(content, source); err != nil {
		return fmt.Errorf("rejected %s:\n%w", filepath.Join(flags.Arg(0), detection.File), err)
	}
	_, err = fmt.Fprintf(stdout, "passed: %d rules of %d fields, held against %s number of inputs (%s)\n",
		len(content.Rules), content.Fields, whose, content.Digest)
	return err
}

func serve(ctx context.Context, args []string, stderr io.Writer) error {
	reload, stop := reloads() // first of all: until then a SIGHUP ends the process
	defer stop()
	flags := newFlags("sensor --content DIR [flags] | sensor validate [--trust-definition] DIR", stderr)
	dir := flags.String("content", "", "directory with "+detection.File+"; may not exist yet")
	every := flags.Duration("event-every", 200*time.Millisecond, "time between two events")
	listen := flags.String("listen", "127.0.0.1:0", "address to serve /healthz and /loaded on; port 0 takes a free one")
	addrFile := flags.String("addr-file", "", "file to write the address to that is being listened on")
	if err := parse(flags, args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return &misuseError{fmt.Sprintf("unknown command %q; the only one is validate", flags.Arg(0))}
	case *dir == "":
		return &misuseError{"--content is missing; see sensor --help"}
	case *every <= 0:
		return &misuseError{fmt.Sprintf("--event-every must be above 0, is %s", *every)}
	}

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", *listen, err)
	}
	defer listener.Close()
	if err := writeAddr(*addrFile, listener.Addr().String()); err != nil {
		return err
	}
	s := &sensor{dir: *dir, log: slog.New(slog.NewTextHandler(stderr, nil))}
	s.load(ctx)
	return s.run(ctx, listener, *every, reload)
}

func newFlags(usage string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet("sensor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: %s\n", usage)
		flags.PrintDefaults()
	}
	return flags
}

// parse makes every mistake but the wish for help a misuse. The flag package has printed it already.
func parse(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return &misuseError{err.Error()}
	}
	return err
}

// writeAddr writes addr to path, so that a reader sees either nothing or all of it. An empty path means not to.
func writeAddr(path, addr string) error {
	if path == "" {
		return nil
	}
	next := path + ".next"
	if err := os.WriteFile(next, []byte(addr+"\n"), 0o600); err != nil {
		return fmt.Errorf("write address file: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write address file: %w", err)
	}
	return nil
}
