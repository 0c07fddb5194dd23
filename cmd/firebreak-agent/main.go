// Command firebreak-agent keeps the components of one host up to date.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/firebreak-dev/firebreak/internal/endpoint/command"
)

// version is set when a release is built.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	home := ""
	if os.Geteuid() != 0 {
		home, _ = os.UserHomeDir() // without one the system's directory is tried
	}
	code := command.Run(ctx, command.Env{Args: os.Args[1:], Out: os.Stdout, Err: os.Stderr, Version: version, Home: home})
	stop()
	os.Exit(code)
}
