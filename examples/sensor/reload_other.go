//go:build !unix

package main

import "os"

// reloads returns a channel without values: this system has no SIGHUP. Restart the sensor to load new content.
func reloads() (reload <-chan os.Signal, stop func()) { return nil, func() {} }
