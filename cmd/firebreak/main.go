// Command firebreak is the control plane and the operators' command. See package cli.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/term"

	"github.com/firebreak-dev/firebreak/internal/cli"
	"github.com/firebreak-dev/firebreak/internal/clock"
)

var version = "devel" // set by the linker

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, cli.Env{
		Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Terminal: terminal, Height: height,
		Clock: clock.Wall{}, Version: version, Platform: runtime.GOOS + "/" + runtime.GOARCH, Memory: freeMemory, Serve: serve, Demo: playDemo, Database: database,
	})
	stop()
	os.Exit(code)
}

func terminal(w io.Writer) (width int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, _ = term.GetSize(int(f.Fd())) // 0 stands for unknown
	return width, true
}

func height(w io.Writer) int {
	f, isFile := w.(*os.File)
	if !isFile {
		return 0
	}
	_, lines, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return lines
}
