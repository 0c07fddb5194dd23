package posture

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// watchdog tells whether one is armed, and whether one of those is no software. A kernel that does not tell the state of its watchdogs is
// believed to have them armed if systemd was told to.
func (h host) watchdog() fleet.Posture {
	const class = "/sys/class/watchdog"
	var p fleet.Posture
	mute := false
	for _, name := range h.names(class) {
		switch h.text(filepath.Join(class, name, "state")) {
		case "active":
			p |= fleet.Watchdog
			if !software(h.text(filepath.Join(class, name, "identity"))) {
				p |= fleet.WatchdogHardware
			}
		case "":
			mute = true
		}
	}
	if p == 0 && (mute || !h.exists(class)) && h.exists("/dev/watchdog0") && h.fed() {
		p = fleet.Watchdog
	}
	return p
}

// software tells whether a watchdog is the kernel's own timer: it dies with the kernel that it watches.
func software(identity string) bool {
	return identity == "" || strings.HasPrefix(identity, "Software Watchdog")
}

// fed tells whether systemd was told to feed the watchdog. What is read later counts; of files of one name only that of the first directory.
func (h host) fed() bool {
	var value string
	for _, dir := range []string{"/usr/lib/systemd", "/etc/systemd"} {
		value = runtimeWatchdog(h.text(dir+"/system.conf"), value)
	}
	files := map[string]string{}
	for _, dir := range []string{"/usr/lib/systemd/system.conf.d", "/run/systemd/system.conf.d", "/etc/systemd/system.conf.d"} {
		for _, name := range h.names(dir) {
			if strings.HasSuffix(name, ".conf") {
				files[name] = filepath.Join(dir, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		value = runtimeWatchdog(h.text(files[name]), value)
	}
	return value != "" && value != "off" && strings.Trim(value, "0smin ") != ""
}

// runtimeWatchdog is the last RuntimeWatchdogSec in a file, or what was before.
func runtimeWatchdog(text, before string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "RuntimeWatchdogSec="); ok {
			before = strings.TrimSpace(value)
		}
	}
	return before
}
