package vm

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A host whose guard is of no use loops. The medium is put in, and nobody touches a key.
func TestRescueMedium(t *testing.T) {
	needs(t, "full")
	dist := t.TempDir()
	run(t, filepath.Join(repository(t), "scripts", "vm", "rescue-iso"), dist)
	iso := []string{"-cdrom", filepath.Join(dist, "firebreak-rescue.iso"), "-boot", "d"}
	const firmware = "/usr/share/OVMF/"
	for _, c := range []struct {
		name string
		boot func(t *testing.T, m *machine)
	}{
		{"BIOS", func(_ *testing.T, m *machine) { m.args = iso }},
		{"UEFI", func(t *testing.T, m *machine) {
			variables := filepath.Join(t.TempDir(), "vars.fd")
			run(t, "cp", firmware+"OVMF_VARS_4M.fd", variables)
			m.args = append([]string{
				"-drive", "if=pflash,format=raw,readonly=on,file=" + firmware + "OVMF_CODE_4M.fd", "-drive", "if=pflash,format=raw,file=" + variables,
			}, iso...)
		}},
		{"PXE and GRUB entry", func(_ *testing.T, m *machine) { // both load these two files and no more
			m.kernel, m.initrd = filepath.Join(dist, "vmlinuz"), filepath.Join(dist, "initrd")
		}},
	} {
		t.Run(c.name, func(t *testing.T) { rescued(t, c.boot) })
	}
}

func rescued(t *testing.T, boot func(*testing.T, *machine)) {
	t.Helper()
	m := newTiny(t, nil)
	for n := range 2 { // it loops, with a guard that has not enough of it yet
		m.meet(n+1, "", facts{Boots: n + 1, Current: bad, Pending: true})
	}
	medium := m.machine
	medium.memory, medium.kernel, medium.limit = "512", "", 5*time.Minute
	boot(t, &medium)
	b := medium.boot("console=ttyS0 quiet firebreak.rescue=1")
	if !b.said("firebreak rescue: done") {
		t.Fatalf("want a medium that does its work; console:\n%s", last(b.console, 60))
	}
	t.Logf("rescued: %s on the clock, %s of processor time", b.wall.Round(time.Millisecond), b.used)
	after := m.look()
	if after.Current != good || after.Boots != 0 || len(after.Undone) != 1 {
		t.Fatalf("after the rescue: got %+v, want the good release, no boots counted, and a record of it; console:\n%s", after, last(b.console, 60))
	}
	if report := m.image.read(guardDir + "/rescue.txt"); !strings.Contains(report, string(bad)) {
		t.Errorf("report on the host: got %q, want it to name what was left", report)
	}
	if b := m.boot(quiet); b.panicked() || !b.said("loading", "good rules") {
		t.Errorf("after the rescue: want the host up with the good release; console:\n%s", last(b.console, 40))
	}
}
