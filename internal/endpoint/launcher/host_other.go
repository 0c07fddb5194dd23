//go:build !linux

package launcher

import "os/exec"

// dieWithParent does nothing: only Linux can.
func dieWithParent(*exec.Cmd) {}

// send does nothing: there is no systemd.
func send(string, string) error { return nil }
