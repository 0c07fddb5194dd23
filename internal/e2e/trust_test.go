package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/repository"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/publisher"
	"github.com/firebreak-dev/firebreak/internal/publisher/publishertest"
)

// director is the key of the control plane itself: whoever has it may lie with authority.
func (p *plane) director() *trust.Signer {
	p.t.Helper()
	keys, err := repository.OpenKeys(filepath.Join(p.dir, "keys"), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	return keys.Director
}

// settled is a plane with hosts that run v1.
func settled(t *testing.T, n int) (*plane, []*host) {
	t.Helper()
	p := newPlane(t)
	hosts := p.newHosts(n)
	id := p.roll("v1", "good rules 1", atOnce())
	for _, h := range hosts {
		h.runs("v1")
	}
	p.await(id, "v1 to be everywhere", complete)
	return p, hosts
}

func (p *plane) halt(id string) {
	p.t.Helper()
	if _, err := p.client.Halt(p.t.Context(), id, "the test goes on"); err != nil {
		p.t.Fatal(err)
	}
}

// A directive that is genuine but expired, as from a control plane whose clock stands still, starts nothing and ends nothing.
func TestInvariantI7ExpiredDirectiveStartsNothing(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	p.clock.stop()
	h.clock.move(3 * time.Hour)
	id := p.roll("v2", "good rules 2", atOnce())
	h.says("directive of sensor-content", "expired at")
	if got := h.current(); got != "good rules 1" {
		t.Errorf("in use: got %q, want the first release", got)
	}
	p.clock.goOn()
	h.clock.move(-3 * time.Hour)
	p.await(id, "v2 to be confirmed after the clocks were set", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
	h.runs("v2")
}

// A control plane that shows an old directive again changes nothing, and loses nothing.
func TestInvariantI9ReplayedDirectiveIsRefused(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	old, err := h.line.Client.Directive(t.Context(), sensor)
	if err != nil {
		t.Fatal(err)
	}
	id := p.roll("v2", "good rules 2", atOnce())
	p.await(id, "v2 to be everywhere", complete)
	h.runs("v2")
	h.line.show(func([]byte) []byte { return old })
	id = p.roll("v3", "good rules 3", atOnce())
	h.says("directive of sensor-content", "it is a replay")
	if got := h.current(); got != "good rules 2" {
		t.Errorf("in use: got %q, want the second release", got)
	}
	h.line.show(nil)
	p.await(id, "v3 to be confirmed once the newest directive is shown", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
}

// A control plane that lies with the right key cannot make a host activate without a lease of its own.
func TestInvariantI1LyingLeases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lie  func(*api.Lease)
		says string
	}{
		{"of another host", func(l *api.Lease) { l.Endpoint = "ep-00000000000000000000" }, "it is for endpoint"},
		{"for another digest", func(l *api.Lease) { l.Manifest = string(release.DigestOf([]byte("other"))) }, "it is for manifest"},
		{"for another rollout", func(l *api.Lease) { l.Rollout = "ro-other" }, "it is for rollout"},
		{"ahead of its time", func(l *api.Lease) {
			l.Issued, l.Expires, l.Deadline = l.Issued.Add(time.Hour), l.Expires.Add(time.Hour), l.Deadline.Add(time.Hour)
		}, "it was issued at"},
		{"before the release was made", func(l *api.Lease) { l.Started = l.Started.Add(-time.Hour) }, "before the release was made"},
		{"for a ring that there is not", func(l *api.Lease) { l.Ring = -1 }, "names ring -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, hosts := settled(t, 1)
			h, director := hosts[0], p.director()
			h.line.lie(func(_ api.CheckIn, reply api.CheckInReply) api.CheckInReply {
				for i, envelope := range reply.Leases {
					l := payload[api.Lease](t, envelope)
					c.lie(&l)
					forged, err := trust.SealLease(l, director)
					if err != nil {
						t.Error(err)
					}
					reply.Leases[i] = forged
				}
				return reply
			})
			id := p.roll("v2", "good rules 2", atOnce())
			h.says("refuse a lease", c.says)
			if got := h.current(); got != "good rules 1" {
				t.Errorf("in use: got %q, want the first release", got)
			}
			h.line.lie(nil)
			p.await(id, "v2 to be confirmed once the control plane is honest", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
			h.runs("v2")
		})
	}
}

// A lease that is past its time when it comes is given back, and another one is asked for.
func TestInvariantI1LeasePastItsTime(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	const late = 30 * time.Minute // past any lease, but not past the directive
	h.clock.move(late)
	id := p.roll("v2", "good rules 2", atOnce())
	h.says("refuse a lease", "it expired at")
	if got := h.current(); got != "good rules 1" {
		t.Errorf("in use: got %q, want the first release", got)
	}
	h.clock.move(-late)
	p.await(id, "v2 to be confirmed with a lease that came in time", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
}

// Somebody else's key on a lease is worth nothing, though all that it says is right.
func TestInvariantI1LeaseOfAStranger(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := trust.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	h.line.lie(func(_ api.CheckIn, reply api.CheckInReply) api.CheckInReply {
		for i, envelope := range reply.Leases {
			forged, err := trust.SealLease(payload[api.Lease](t, envelope), stranger)
			if err != nil {
				t.Error(err)
			}
			reply.Leases[i] = forged
		}
		return reply
	})
	id := p.roll("v2", "good rules 2", atOnce())
	h.says("refuse a lease", "open lease for sensor-content")
	if got, phase := h.current(), h.state().Phase; got != "good rules 1" || phase != install.Ready {
		t.Errorf("in use: got %q (%s), want the first release, ready for the next", got, phase)
	}
	h.line.lie(nil)
	p.await(id, "v2 to be confirmed with a lease of the control plane", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
}

// A release of a component that wants two owners is nobody's until the second has signed.
func TestThresholdNotMet(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	hosts := p.newHosts(1)
	ring, err := publisher.OpenKeyring(filepath.Join(t.TempDir(), "second"))
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := ring.Make(sensor, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.init(publisher.InitOptions{Components: map[string]publisher.RoleKeys{sensor: {Add: []ed25519.PublicKey{key.Public()}, Threshold: 2}}})
	published := p.publish("v1", "good rules 1", atOnce())
	if s := published.Submission; s.State != api.SubmissionPending || s.Signatures != 1 || s.Threshold != 2 {
		t.Errorf("submission: got %+v, want it pending with 1 of 2 signatures", s)
	}
	_, err = p.client.StartRollout(t.Context(), api.StartRollout{Component: sensor, Version: "v1"})
	if err == nil || fault.KindOf(publishertest.InHouse(err)) != fault.NotFound {
		t.Fatalf("start a rollout of what one of two signed: got %v, want not found", err)
	}
	root, err := os.ReadFile(filepath.Join(p.dir, "..", "keyring", "root.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Trust(root); err != nil {
		t.Fatal(err)
	}
	second := p.owner(ring.Dir())
	review, err := second.Review(t.Context(), sensor)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.CoSign(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	p.await(p.begin("v1"), "v1 to be confirmed once both signed", func(r api.Rollout) bool { return r.Confirmed == 1 })
	hosts[0].runs("v1")
}

func TestUnknownComponentAndVersionPublishedTwice(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	_, err := p.client.StartRollout(t.Context(), api.StartRollout{Component: "nobody-knows-it", Version: "v1"})
	if fault.KindOf(publishertest.InHouse(err)) != fault.NotFound || !strings.Contains(err.Error(), "nobody-knows-it") {
		t.Errorf("start a rollout of an unknown component: got %v, want not found", err)
	}
	_, err = p.publisher.Publish(t.Context(), publisher.PublishOptions{
		Component: "nobody-knows-it", Version: "v1", Kind: release.Content, Plan: steps(), Sources: []publisher.Source{{Path: content(t, "x")}},
	})
	if fault.KindOf(err) != fault.NotFound {
		t.Errorf("publish a release of an unknown component: got %v, want not found", err)
	}
	first := p.publish("v1", "good rules 1", steps())
	if again := p.publish("v1", "good rules 1", steps()); !again.Before || again.Digest != first.Digest {
		t.Errorf("publish the same again: got %+v, want the first one", again)
	}
	_, err = p.publisher.Publish(t.Context(), publisher.PublishOptions{
		Component: sensor, Version: "v1", Kind: release.Content, Plan: steps(), Sources: []publisher.Source{{Path: content(t, "other rules")}},
	})
	if fault.KindOf(err) != fault.Conflict {
		t.Errorf("publish other bytes as the same version: got %v, want a conflict", err)
	}
	r, err := p.client.Release(t.Context(), sensor, "v1")
	if err != nil || r.Manifest != string(first.Digest) {
		t.Errorf("the release: got %s (%v), want %s as at first", r.Manifest, err, first.Digest)
	}
}

// Clocks that jump a year stop what is new and harm nobody; set right again, everything goes on at once.
func TestClocksThatJumpAYear(t *testing.T) {
	t.Parallel()
	const year = 366 * 24 * time.Hour
	for _, c := range []struct {
		name          string
		server, agent time.Duration
	}{
		{"server ahead", year, 0}, {"server behind", -year, 0}, {"agent ahead", 0, year}, {"agent behind", 0, -year},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, hosts := settled(t, 1)
			h := hosts[0]
			h.stop()
			h.clock.hasty = true // it may be told to stay away for long
			h.run()
			p.publish("v2", "good rules 2", atOnce())
			p.clock.move(c.server)
			h.clock.move(c.agent)
			r, err := p.client.StartRollout(t.Context(), api.StartRollout{Component: sensor, Version: "v2"})
			if err == nil {
				h.says("level=WARN")
			}
			if got := h.current(); got != "good rules 1" && got != "good rules 2" {
				t.Errorf("in use: got %q, want a release", got)
			}
			p.clock.move(-c.server)
			h.clock.move(-c.agent)
			id := r.ID
			if err == nil && c.server > 0 { // by the plan, its rings open a year after now
				p.halt(id)
			}
			if err != nil || c.server > 0 {
				id = p.begin("v2")
			}
			p.await(id, "v2 to be confirmed once the clock is right", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
			h.runs("v2")
		})
	}
}

// byHand publishes a release of any bytes, as somebody with the release key but without our tools could.
func (p *plane) byHand(version string, serial int64, archive []byte) {
	p.t.Helper()
	ctx := p.t.Context()
	m := release.Manifest{
		Format: 1, Component: sensor, Version: version, Serial: serial, Kind: release.Content, Created: p.clock.Now().UTC().Truncate(time.Second),
		Plan: atOnce(), Artifacts: []release.Artifact{{
			Platform: release.AnyPlatform, Format: release.Tar, Name: "rules.tar", Digest: release.DigestOf(archive), Size: int64(len(archive)),
		}},
	}
	manifest, err := json.Marshal(m)
	if err != nil {
		p.t.Fatal(err)
	}
	signer, errSigner := p.publisher.Keyring.Signer(sensor)
	view, errView := p.publisher.Keyring.View()
	if err := errors.Join(errSigner, errView); err != nil {
		p.t.Fatal(err)
	}
	fetch := func(name string) ([]byte, error) { return publishertest.Wire{Client: p.client}.MetadataFile(ctx, name) }
	if _, err := view.Refresh(p.clock.Now(), []string{sensor}, fetch); err != nil {
		p.t.Fatal(err)
	}
	role, err := trust.DecodeTargets(sensor, view.Files()[sensor+".json"])
	if err != nil {
		p.t.Fatal(err)
	}
	role.Signed.Version, role.Signatures = role.Signed.Version+1, nil
	metadata, err := signed(trust.AddRelease(role, manifest), func() error { return trust.Sign(role, signer) }, func() ([]byte, error) { return trust.Encode(role) })
	if err != nil {
		p.t.Fatal(err)
	}
	for _, blob := range [][]byte{archive, manifest} {
		if err := p.client.UploadBlob(ctx, string(release.DigestOf(blob)), int64(len(blob)), strings.NewReader(string(blob)), nil); err != nil {
			p.t.Fatal(err)
		}
	}
	if _, err := p.client.SubmitMetadata(ctx, sensor, metadata); err != nil {
		p.t.Fatal(err)
	}
}

func signed(err error, sign func() error, encode func() ([]byte, error)) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if err := sign(); err != nil {
		return nil, err
	}
	return encode()
}
