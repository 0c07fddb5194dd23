// Command firebreak-agent keeps the components of one host up to date.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/firebreak-dev/firebreak/internal/endpoint/command"
)

// version is set when a release is built.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	env := command.Env{
		Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Version: version, Getenv: os.Getenv, Self: self(),
		Components: "/etc/firebreak/components.d",
	}
	if os.Geteuid() != 0 {
		env.Home, _ = os.UserHomeDir() // without one the system's directory is tried
	}
	if launcher := launcher(); launcher != nil {
		env.Notify = launcher
	}
	code := command.Run(ctx, env)
	stop()
	os.Exit(code)
}

// self is the path of this executable; "" if the system does not tell.
func self() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return ""
	}
	return path
}
