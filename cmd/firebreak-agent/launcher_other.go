//go:build !unix

package main

import "os"

// launcher is nil: no launcher starts agents on this system.
func launcher() *os.File { return nil }
