package guard

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// local is a name that every host resolves by itself: it proves that names are resolved at all, without a server that may be down.
const local = "localhost"

// health looks at the host. What cannot be found out is left out.
func (h Host) health(ctx context.Context, units []string, name string) bootguard.Health {
	now := bootguard.Health{Route: h.route()}
	now.Listed, now.Failed = h.failed(ctx)
	for _, unit := range units {
		out, err := h.Command(ctx, "systemctl", "show", "--property=NRestarts", "--value", unit)
		if n, bad := strconv.Atoi(strings.TrimSpace(out)); err == nil && bad == nil {
			now.Restarts = append(now.Restarts, bootguard.Restarts{Unit: unit, Times: n})
		}
	}
	tainted, err := h.small(filepath.Join(h.Proc, "sys/kernel/tainted"))
	if bits, bad := strconv.ParseUint(tainted, 10, 64); err == nil && bad == nil {
		now.Kernel, now.Tainted = true, bits
	}
	for _, resource := range []string{"cpu", "memory", "io"} {
		if percent, ok := h.pressure(resource); ok {
			now.Pressure = append(now.Pressure, bootguard.Pressure{Resource: resource, Percent: percent})
		}
	}
	if name == "" {
		name = local
	}
	if name == local || now.Route == bootguard.Yes { // others need a network
		now.Names = h.resolves(ctx, name)
	}
	return now
}

// failed lists the failed units. More than fit into the end of an output that is kept cannot be told.
func (h Host) failed(ctx context.Context) (bool, []string) {
	out, err := h.Command(ctx, "systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full", "--no-pager")
	if err != nil || len(out) >= process.TailSize {
		return false, nil
	}
	var units []string
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 0 {
			units = append(units, fields[0])
		}
	}
	return true, units
}

func (h Host) resolves(ctx context.Context, name string) bootguard.Answer {
	_, err := h.Command(ctx, "getent", "hosts", name)
	if err == nil {
		return bootguard.Yes
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return bootguard.No
	}
	return "" // it could not be asked, or nobody answered in time
}

// pressure is the share of the last minute in which something waited.
func (h Host) pressure(resource string) (int, bool) {
	text, err := h.small(filepath.Join(h.Proc, "pressure", resource))
	if err != nil {
		return 0, false
	}
	for word := range strings.FieldsSeq(text) { // the first line is about some processes, the second about all
		if value, ok := strings.CutPrefix(word, "avg60="); ok {
			share, err := strconv.ParseFloat(value, 64)
			return int(share), err == nil && share >= 0 && share <= 100
		}
	}
	return 0, false
}

// route tells whether there is a default route. Without one, a host that is plugged in nowhere cannot be judged.
func (h Host) route() bootguard.Answer {
	four, err4 := h.small(filepath.Join(h.Proc, "net/route"))
	six, err6 := h.small(filepath.Join(h.Proc, "net/ipv6_route"))
	if err4 != nil && err6 != nil {
		return ""
	}
	const device4, destination4, mask4 = 0, 1, 7
	for line := range strings.Lines(four) {
		f := strings.Fields(line)
		if len(f) > mask4 && f[destination4] == "00000000" && f[mask4] == "00000000" && f[device4] != "lo" {
			return bootguard.Yes
		}
	}
	const destination6, length6, device6 = 0, 1, 9
	for line := range strings.Lines(six) {
		f := strings.Fields(line)
		if len(f) > device6 && strings.Trim(f[destination6]+f[length6], "0") == "" && f[device6] != "lo" {
			return bootguard.Yes
		}
	}
	if h.plugged() {
		return bootguard.No
	}
	return ""
}

func (h Host) plugged() bool {
	dir := filepath.Join(h.Sys, "class/net")
	entries, err := h.FS.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		carrier, err := h.small(filepath.Join(dir, e.Name(), "carrier"))
		if _, physical := h.FS.Lstat(filepath.Join(dir, e.Name(), "device")); err == nil && physical == nil && carrier == "1" {
			return true
		}
	}
	return false
}
