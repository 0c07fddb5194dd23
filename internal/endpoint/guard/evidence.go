package guard

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// dumps names what the kernel left when it crashed: in its own store, and where systemd keeps it. A name has the time in it, because
// some stores use names again. The newest come last.
func (h Host) dumps() []string {
	var all []string
	list := func(dir string, dirs bool) {
		entries, err := h.FS.ReadDir(dir)
		if err != nil {
			return // no store, no evidence
		}
		for _, e := range entries {
			info, err := e.Info()
			if err == nil && (strings.HasPrefix(e.Name(), "dmesg") || dirs && e.IsDir()) {
				all = append(all, fmt.Sprintf("%020d@%s", max(info.ModTime().Unix(), 0), e.Name()))
				for i := len(all) - 1; i > 0 && all[i] < all[i-1]; i-- { // a few: package sort would need more room than they do
					all[i], all[i-1] = all[i-1], all[i]
				}
			}
		}
	}
	list(filepath.Join(h.Sys, "fs/pstore"), false)
	if kept, err := h.at("/var/lib/systemd/pstore"); err == nil {
		list(kept, true)
	}
	for i, dump := range all {
		at, name, _ := strings.Cut(dump, "@")
		all[i] = name + "@" + strings.TrimLeft(at, "0")
	}
	return all
}

// watchdog tells whether the last reset was the watchdog's, where the hardware remembers it.
func (h Host) watchdog() bool {
	const reset = 32 // WDIOF_CARDRESET
	dir := filepath.Join(h.Sys, "class/watchdog")
	entries, err := h.FS.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		status, err := h.small(filepath.Join(dir, e.Name(), "bootstatus"))
		if n, bad := strconv.ParseUint(status, 0, 64); err == nil && bad == nil && n&reset != 0 {
			return true
		}
	}
	return false
}
