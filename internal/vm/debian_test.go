package vm

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
)

const (
	gateway = "10.0.2.2" // this machine, as qemu's user network shows it to its guest
	// All in one place, because processors that are lent to others make them longer than they need be.
	someBoots = 15 * time.Minute
	debianRun = "root=/dev/vda ro console=ttyS0 panic=-1 no_timer_check systemd.show_status=0 modprobe.blacklist=kvm_amd,kvm,aesni_intel,powernow_k8,psmouse "
)

// debian is a whole system: systemd, the real units and hooks, an agent, and a consumer that its content can take down.
type debian struct {
	tiny

	options string // more on the kernel's command line

	mu    sync.Mutex
	lines []string // of the running life
	lives []life   // those that are over
	err   error
	off   context.CancelFunc
	over  chan struct{}
}

// life is one boot, and the disk after it.
type life struct {
	boot

	facts facts
}

var debianImage = sync.OnceValues(func() (string, error) { return os.MkdirTemp(programs.dir, "debian-") })

// newDebian makes a machine with a disk of its own. Kernel is cloud or generic. Files are put on the disk by their paths.
func newDebian(t *testing.T, name, kernel string, files map[string]string) *debian {
	t.Helper()
	dir, err := debianImage()
	if err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(dir, "disk.img")
	if _, err := os.Stat(from); err != nil {
		run(t, filepath.Join(repository(t), "scripts", "vm", "image"), dir)
	}
	i := image{t, filepath.Join(t.TempDir(), name+".img")}
	run(t, "cp", "--sparse=always", from, i.path)
	for where, text := range files {
		i.put(where, []byte(text))
	}
	k := kernelOf(t, map[string]string{"cloud": "cloud-amd64", "generic": "amd64"}[kernel])
	return &debian{tiny: tiny{machine{
		t: t, name: name, kernel: k.image, initrd: filepath.Join(dir, "initrd-"+kernel), disk: i.path, memory: "512", limit: time.Hour,
		args: []string{"-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"},
	}, i}}
}

// on switches the machine on. Whenever it resets itself, its disk is looked at and it is switched on again, until off is called.
func (d *debian) on() {
	ctx, cut := context.WithCancel(d.t.Context())
	d.off, d.over = cut, make(chan struct{})
	go func() {
		defer close(d.over)
		for ctx.Err() == nil {
			b, err := d.watch(ctx, debianRun+d.options, func(line string, _ context.CancelFunc) { d.hear(line) })
			d.mu.Lock()
			d.lines, d.err = nil, err
			d.mu.Unlock()
			if err != nil || b.cut {
				return
			}
			f := d.look() //nolint:contextcheck // the disk is read under the test's own
			d.mu.Lock()
			d.lives = append(d.lives, life{b, f})
			d.mu.Unlock()
		}
	}()
	d.t.Cleanup(func() {
		cut()
		<-d.over
	})
}

func (d *debian) hear(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// said waits until the running life has said a line with these words.
func (d *debian) said(words string, within time.Duration) {
	d.t.Helper()
	eventually(d.t, d.name+" to say "+words, within, func() bool {
		return slices.ContainsFunc(d.console(), func(l string) bool { return strings.Contains(l, words) })
	}, func() any { return "\n" + strings.Join(d.console()[max(0, len(d.console())-40):], "\n") })
}

func (d *debian) console() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// past are the lives that are over.
func (d *debian) past() []life {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lives)
}

// halt takes the power away and reads the disk.
func (d *debian) halt() facts {
	d.t.Helper()
	d.off()
	<-d.over
	if d.err != nil {
		d.t.Fatal(d.err)
	}
	return d.look()
}

// joined is some machines that have joined a control plane and have had a good boot.
func joined(t *testing.T, n int) (*plane, []*debian) {
	t.Helper()
	needs(t, "full")
	p := newPlane(t)
	var all []*debian
	for i := range n {
		name := "vm" + string(rune('1'+i))
		d := newDebian(t, name, "cloud", map[string]string{"/etc/vm-join": p.join + "\n", "/etc/hostname": name + "\n"})
		d.on()
		all = append(all, d)
	}
	eventually(t, "machines to join", someBoots, func() bool { return len(p.endpoints()) == n }, func() any {
		return "\n" + strings.Join(all[0].console()[max(0, len(all[0].console())-40):], "\n")
	})
	for _, d := range all {
		d.said("is blessed", someBoots)
	}
	return p, all
}

// everywhere waits until all machines have confirmed a release.
func (p *plane) everywhere(id string, n int) {
	p.t.Helper()
	p.await(id, "the good release everywhere", someBoots, func(r api.Rollout) bool { return r.Confirmed == int64(n) && r.Unconfirmed == 0 })
}

func (p *plane) endpoints() []api.Endpoint {
	var all []api.Endpoint
	for e, err := range p.client.Endpoints(p.t.Context()) {
		if err != nil {
			return nil
		}
		all = append(all, e)
	}
	return all
}

// 19 July 2024, with a guard: content that panics the kernel of whoever loads it, now and at every boot.
func TestBadContentHarmsOneMachineWhichComesBack(t *testing.T) {
	p, all := joined(t, 3)
	p.everywhere(p.roll("1.0.0", "good rules"), len(all))
	began := clock.Wall{}.Now()
	id := p.roll("2.0.0", "panic rules")
	r := p.await(id, "the breaker to trip", someBoots, func(r api.Rollout) bool { return r.Incident != "" && r.Recovered == 1 })
	back := clock.Wall{}.Now().Sub(began)
	if r.Harmed != 1 || r.Exposed != 1 {
		t.Errorf("rollout: got %d exposed and %d harmed, want 1 and 1", r.Exposed, r.Harmed)
	}
	var harmed []*debian
	for _, d := range all {
		if len(d.past()) > 0 {
			harmed = append(harmed, d)
		}
	}
	if len(harmed) != 1 {
		t.Fatalf("got %d machines that went down, want 1", len(harmed))
	}
	d := harmed[0]
	d.said("is blessed", someBoots)
	// The life in which it was activated, and three boots that load it; the fourth goes back. That agent never got to speak in between.
	if lives := d.past(); len(lives) != 4 {
		t.Errorf("%s: got %d panics, want 4", d.name, len(lives))
	} else {
		for n, l := range lives {
			f := l.facts
			if !l.panicked() || f.Boots != n || !f.Pending || !strings.HasPrefix(string(f.Current), "2.0.0-") {
				t.Errorf("%s: life %d: got %+v, want a panic with the bad release pending and %d boots counted", d.name, n, f, n)
			}
			if ran := strings.Contains(l.console, "level=INFO"); ran != (n == 0) {
				t.Errorf("%s: life %d: the agent ran: %t; want it to run before the first panic, and never while the host loops", d.name, n, ran)
			}
		}
	}
	for _, d := range all {
		loaded := slices.ContainsFunc(d.console(), func(l string) bool { return strings.Contains(l, "vm: loading [panic") })
		if d != harmed[0] && loaded {
			t.Errorf("%s: the bad release was activated there too", d.name)
		}
		if f := d.halt(); !strings.HasPrefix(string(f.Current), "1.0.0-") || f.Pending || !f.Blessed || f.Boots != 0 {
			t.Errorf("%s: got %+v, want the good release and a blessed boot", d.name, f)
		}
	}
	t.Logf("3 machines; the first one was harmed, looped, healed itself and reported: %s from the start of the rollout to the trip", back.Round(time.Second))
}

// An agent that dies as soon as it is started, released by mistake. Its launcher goes back, the old agent tells, and no host is left without one.
func TestBadAgentHarmsOneMachineWhichKeepsItsAgent(t *testing.T) {
	const self = "/var/lib/firebreak-agent/components/firebreak-agent/current"
	p, all := joined(t, 2)
	whole, err := os.ReadFile(build(t, "cmd/firebreak-agent"))
	if err != nil {
		t.Fatal(err)
	}
	p.everywhere(p.ship("firebreak-agent", "1.0.0", "firebreak-agent", whole), len(all))
	began := clock.Wall{}.Now()
	id := p.ship("firebreak-agent", "2.0.0", "firebreak-agent", []byte("#!/bin/sh\nexit 1\n"))
	r := p.await(id, "the breaker to trip", someBoots, func(r api.Rollout) bool { return r.Incident != "" && r.Recovered == 1 })
	t.Logf("2 machines; the first one went back to its agent and reported: %s", clock.Wall{}.Now().Sub(began).Round(time.Second))
	if r.Harmed != 1 || r.Exposed != 1 {
		t.Errorf("rollout: got %d exposed and %d harmed, want 1 and 1", r.Exposed, r.Harmed)
	}
	for _, d := range all {
		if lives := d.past(); len(lives) > 0 {
			t.Errorf("%s: got %d reboots, want none", d.name, len(lives))
		}
		d.halt()
		if to := d.image.link(self); !strings.HasPrefix(to, "slots/1.0.0-") {
			t.Errorf("%s: current agent: got %q, want the good one", d.name, to)
		}
	}
}

// A whole system with no room on its disk comes back as well.
func TestComesBackWithAFullDiskOnDebian(t *testing.T) {
	needs(t, "full")
	d := newDebian(t, "full", "cloud", map[string]string{"/etc/vm-fill": "yes\n"})
	d.pending("panic rules")
	began := clock.Wall{}.Now()
	d.on()
	d.said("vm: loading [good rules]", someBoots)
	d.said("is blessed", someBoots)
	wall := clock.Wall{}.Now().Sub(began)
	for n, l := range d.past() {
		if f := l.facts; !l.panicked() || !l.said("vm: free bytes: 0") || f.Boots != n+1 || f.Current != bad || !f.Pending {
			t.Errorf("life %d: got %+v, want a panic, a full disk and the boot counted; console:\n%s", n+1, f, last(l.console, 60))
		}
	}
	if got := len(d.past()); got != 3 {
		t.Errorf("got %d panics, want 3", got)
	}
	if f := d.halt(); f.Current != good || !f.Blessed {
		t.Errorf("at the end: got %+v, want the good release and a blessed boot", f)
	}
	t.Logf("full disk: 3 panics, back by the 4th boot: %s", wall.Round(time.Second))
}

// Firebreak switched off by the kernel's command line is off in both stages, and a damaged memory stops no boot.
func TestDisabledAndDamagedOnDebian(t *testing.T) {
	needs(t, "full")
	d := newDebian(t, "off", "cloud", nil)
	d.pending("good rules")
	d.options, d.limit = "firebreak.disable", someBoots
	before := d.look()
	d.on()
	d.said("stage 1 does nothing", someBoots)
	d.said("stage 2 does nothing", someBoots)
	d.said("not blessed: the guard is disabled", someBoots)
	if diff := cmp.Diff(before, d.halt()); diff != "" {
		t.Errorf("the disk of a host whose guard is off (-before +after):\n%s", diff)
	}
	d.image.put(guardDir+"/state", []byte(strings.Repeat("nonsense", 16<<10)))
	d.options = ""
	d.on()
	d.said("ALARM: begins with an empty state", someBoots)
	d.said("is blessed", someBoots)
	if f := d.halt(); !f.Blessed || len(d.past()) != 0 {
		t.Errorf("got %+v after %d resets, want a blessed boot and none", f, len(d.past()))
	}
}
