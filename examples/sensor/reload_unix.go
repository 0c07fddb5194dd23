//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// reloads returns a channel with a value for every SIGHUP, where several at once may count as one, and what ends it.
func reloads() (reload <-chan os.Signal, stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	return signals, func() { signal.Stop(signals) }
}
