package trust_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/domain/trust/trusttest"
)

var manifestDigest = release.DigestOf([]byte("manifest"))

func directorKeys(t testing.TB) (trust.Keys, *trust.Signer) {
	t.Helper()
	director := trusttest.Signer(t, "director")
	return trust.NewKeys(1, director.Public()), director
}

// goodLease is a lease for ring 1, which the plan opens one minute after the start.
func goodLease() (api.Lease, trust.LeaseWanted) {
	issued := start.Add(10 * time.Minute)
	l := api.Lease{
		ID: "l-1", Endpoint: "ep-1", Component: sensor, Rollout: "r-1", Manifest: string(manifestDigest), Ring: 1,
		Started: start.Add(time.Minute), Issued: issued, Expires: issued.Add(time.Minute), Deadline: issued.Add(15 * time.Minute),
	}
	want := trust.LeaseWanted{
		Endpoint: "ep-1", Component: sensor, Rollout: "r-1", Manifest: manifestDigest, Plan: trusttest.Plan(), Created: start, Now: issued.Add(time.Second),
	}
	return l, want
}

func sealedLease(t testing.TB, l api.Lease, signers ...*trust.Signer) []byte {
	t.Helper()
	envelope, err := trust.SealLease(l, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

func TestOpenLease(t *testing.T) {
	t.Parallel()
	keys, director := directorKeys(t)
	l, want := goodLease()
	got, err := trust.OpenLease(sealedLease(t, l, director), keys, want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l, got); diff != "" {
		t.Error(diff)
	}
}

// I1 and I9: no lease, no activation; not for another host or digest, not past its time, not sooner than the signed plan says.
func TestInvariantI1I9LeasesAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*api.Lease, *trust.LeaseWanted)
		kind   fault.Kind
		parts  []string
	}{
		"another host":      {func(l *api.Lease, _ *trust.LeaseWanted) { l.Endpoint = "ep-2" }, fault.Denied, []string{"l-1", `endpoint "ep-2"`, `"ep-1"`}},
		"another component": {func(l *api.Lease, _ *trust.LeaseWanted) { l.Component = "nginx" }, fault.Denied, []string{`component "nginx"`}},
		"another rollout":   {func(l *api.Lease, _ *trust.LeaseWanted) { l.Rollout = "r-2" }, fault.Denied, []string{`rollout "r-2"`}},
		"another digest": {
			func(l *api.Lease, _ *trust.LeaseWanted) { l.Manifest = string(release.DigestOf(nil)) }, fault.Denied,
			[]string{"manifest", string(manifestDigest)},
		},
		"nothing wanted": {func(l *api.Lease, w *trust.LeaseWanted) { l.Manifest, w.Manifest = "", "" }, fault.Denied, []string{"manifest"}},
		"no id":          {func(l *api.Lease, _ *trust.LeaseWanted) { l.ID = "" }, fault.Denied, []string{"no id"}},
		"past its time":  {func(l *api.Lease, w *trust.LeaseWanted) { w.Now = l.Expires.Add(trust.LeaseSkew) }, fault.Unavailable, []string{"expired at 2026-03-01T12:11:00Z"}},
		"ring beyond the signed plan too early": {
			func(l *api.Lease, _ *trust.LeaseWanted) { l.Ring, l.Started = 3, l.Issued.Add(-119*time.Second) }, fault.Denied,
			[]string{"ring 3 cannot open before 2026-03-01T12:10:01Z"},
		},
		"ring below the plan": {func(l *api.Lease, _ *trust.LeaseWanted) { l.Ring = -1 }, fault.Denied, []string{"ring -1"}},
		"ring too early": {
			func(l *api.Lease, _ *trust.LeaseWanted) { l.Ring, l.Started = 2, l.Issued.Add(-119*time.Second) }, fault.Denied,
			[]string{"ring 2 cannot open before 2026-03-01T12:10:01Z"},
		},
		"started before the release was made": {
			func(l *api.Lease, _ *trust.LeaseWanted) { l.Started = start.Add(-time.Second) }, fault.Denied,
			[]string{"before the release was made"},
		},
		"expires before issued": {func(l *api.Lease, _ *trust.LeaseWanted) { l.Expires = l.Issued }, fault.Denied, []string{"out of order"}},
		"deadline before expiry": {
			func(l *api.Lease, _ *trust.LeaseWanted) { l.Deadline = l.Expires.Add(-time.Second) }, fault.Denied,
			[]string{"out of order"},
		},
		"clock a year ahead": {func(_ *api.Lease, w *trust.LeaseWanted) { w.Now = w.Now.Add(year) }, fault.Unavailable, []string{"expired", "2027-03-01"}},
		"clock a year behind": {
			func(_ *api.Lease, w *trust.LeaseWanted) { w.Now = w.Now.Add(-year) }, fault.Unavailable,
			[]string{"this host's clock says 2025-03-01"},
		},
		"clock that fell back a year after newer signed words": {
			func(_ *api.Lease, w *trust.LeaseWanted) { w.Wall = w.Now.Add(-year) }, fault.Unavailable,
			[]string{"this host's clock says 2025-03-01"},
		},
		"later times written by a stolen key": {func(l *api.Lease, w *trust.LeaseWanted) {
			l.Ring, l.Issued, l.Expires, l.Deadline = 2, l.Issued.Add(year), l.Expires.Add(year), l.Deadline.Add(year)
		}, fault.Unavailable, []string{"issued at 2027-03-01"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, director := directorKeys(t)
			l, want := goodLease()
			c.change(&l, &want)
			got, err := trust.OpenLease(sealedLease(t, l, director), keys, want)
			refusedFor(t, err, c.kind, c.parts...)
			if !cmp.Equal(got, api.Lease{}) {
				t.Errorf("got a lease together with the error: %v", got)
			}
		})
	}
}

func TestSignaturesOfEnvelopes(t *testing.T) {
	t.Parallel()
	keys, director := directorKeys(t)
	stranger, second := trusttest.Signer(t, "stranger"), trusttest.Signer(t, "second")
	l, want := goodLease()
	good := sealedLease(t, l, director)
	both := trust.NewKeys(2, director.Public(), second.Public())
	directive, err := trust.SealDirective(api.Directive{Component: sensor, Sequence: 1, Issued: start, Expires: start.Add(time.Hour)}, director)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		envelope []byte
		keys     trust.Keys
		parts    []string
	}{
		"by a stranger":         {sealedLease(t, l, stranger), keys, []string{"0 of 1 needed signatures", "director"}},
		"changed afterwards":    {tamper(t, good, `"ring":1`, `"ring":0`), keys, []string{"0 of 1"}},
		"threshold 1 of 2":      {good, both, []string{"1 of 2 needed signatures"}},
		"one key signing twice": {sealedLease(t, l, director, director), both, []string{"1 of 2"}},
		"no signature":          {bytes.Replace(good, []byte(`"signatures":[`), []byte(`"signatures":[],"x":[`), 1), keys, []string{"0 signatures"}},
		"no keys":               {good, trust.Keys{}, []string{"threshold is 0"}},
		"a directive":           {directive, keys, []string{"payload type", "directive"}},
		"not an envelope":       {[]byte("lease"), keys, []string{"not a DSSE envelope"}},
		"cut short":             {good[:len(good)/2], keys, []string{"not a DSSE envelope"}},
		"too large":             {bytes.Repeat([]byte(" "), trust.MaxEnvelope+1), keys, []string{"is the most"}},
		"empty":                 {nil, keys, []string{"not a DSSE envelope"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := trust.OpenLease(c.envelope, c.keys, want)
			refusedFor(t, err, fault.Denied, append(c.parts, "lease for "+sensor)...)
		})
	}
	if _, err := trust.OpenLease(sealedLease(t, l, second, director), both, want); err != nil {
		t.Errorf("both signatures: %v", err)
	}
}

// tamper changes the payload of an envelope and leaves its signatures.
func tamper(t testing.TB, envelope []byte, from, to string) []byte {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(envelope, &doc); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(doc["payload"].(string))
	if err != nil || !bytes.Contains(payload, []byte(from)) {
		t.Fatalf("payload %s does not have %s", payload, from)
	}
	doc["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(payload, []byte(from), []byte(to), 1))
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func goodDirective() (api.Directive, trust.DirectiveWanted) {
	d := api.Directive{
		Component: sensor, Sequence: 7, Issued: start, Expires: start.Add(time.Hour),
		Candidate: &api.Target{Version: "2", Manifest: string(manifestDigest), Rollout: "r-1"},
		Recalls:   []api.Recalled{{Version: "1", Manifest: string(manifestDigest), Artifacts: []string{string(manifestDigest)}}},
	}
	return d, trust.DirectiveWanted{Component: sensor, Newest: 6, Now: start.Add(time.Minute)}
}

func TestOpenDirective(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*api.Directive, *trust.DirectiveWanted)
		kind   fault.Kind // none: accepted
		parts  []string
	}{
		"as it should be":        {change: func(*api.Directive, *trust.DirectiveWanted) {}},
		"the newest once more":   {change: func(_ *api.Directive, w *trust.DirectiveWanted) { w.Newest = 7 }},
		"clock a year behind":    {change: func(_ *api.Directive, w *trust.DirectiveWanted) { w.Now = w.Now.Add(-year) }},
		"replayed":               {func(_ *api.Directive, w *trust.DirectiveWanted) { w.Newest = 8 }, fault.Denied, []string{"replay", "sequence 7 is older than 8"}},
		"expired":                {func(d *api.Directive, w *trust.DirectiveWanted) { w.Now = d.Expires }, fault.Unavailable, []string{"sequence 7 expired at 2026-03-01T13:00:00Z"}},
		"clock a year ahead":     {func(_ *api.Directive, w *trust.DirectiveWanted) { w.Now = w.Now.Add(year) }, fault.Unavailable, []string{"expired"}},
		"of another component":   {func(d *api.Directive, _ *trust.DirectiveWanted) { d.Component = "nginx" }, fault.Denied, []string{`for component "nginx"`}},
		"no sequence":            {func(d *api.Directive, w *trust.DirectiveWanted) { d.Sequence, w.Newest = 0, 0 }, fault.Invalid, []string{"sequence"}},
		"no expiry":              {func(d *api.Directive, _ *trust.DirectiveWanted) { d.Expires = time.Time{} }, fault.Invalid, []string{"expires"}},
		"candidate that is none": {func(d *api.Directive, _ *trust.DirectiveWanted) { d.Candidate.Manifest = "x" }, fault.Invalid, []string{"candidate.manifest"}},
		"held everywhere":        {change: func(d *api.Directive, _ *trust.DirectiveWanted) { d.Candidate.Holds = []api.Hold{{}} }},
		"held by a key that is not known": {change: func(d *api.Directive, _ *trust.DirectiveWanted) {
			d.Candidate.Holds = []api.Hold{{Select: map[string][]string{"color": {"red"}}, Reason: "crashes"}}
		}},
		"as many holds as may be": {change: func(d *api.Directive, _ *trust.DirectiveWanted) { d.Candidate.Holds = make([]api.Hold, 1000) }},
		"too many holds": {func(d *api.Directive, _ *trust.DirectiveWanted) {
			d.Candidate.Holds = make([]api.Hold, 1001)
		}, fault.Invalid, []string{"candidate.holds", "are 1001; 1000 is the most"}},
		"hold of no value": {func(d *api.Directive, _ *trust.DirectiveWanted) {
			d.Stable = d.Candidate
			d.Stable.Holds = []api.Hold{{}, {Select: map[string][]string{"site": {"oslo"}, "os": {}}}}
		}, fault.Invalid, []string{"stable.holds[1].select.os"}},
		"recall of nothing": {func(d *api.Directive, _ *trust.DirectiveWanted) { d.Recalls[0].Artifacts[0] = "x" }, fault.Invalid, []string{"recalls[0].artifacts[0]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, director := directorKeys(t)
			d, want := goodDirective()
			c.change(&d, &want)
			envelope, err := trust.SealDirective(d, director)
			if err != nil {
				t.Fatal(err)
			}
			got, err := trust.OpenDirective(envelope, keys, want)
			if c.kind != "" {
				refusedFor(t, err, c.kind, append(c.parts, "directive of "+sensor)...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzOpenLease(f *testing.F) {
	keys, director := directorKeys(f)
	l, want := goodLease()
	good := sealedLease(f, l, director)
	f.Add(good)
	f.Add([]byte(`{"payloadType":"application/vnd.firebreak.lease.v1+json","payload":"e30=","signatures":[{"keyid":"","sig":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := trust.OpenLease(data, keys, want)
		if err == nil && !cmp.Equal(got, l) {
			t.Errorf("accepted a lease that the director never signed: %+v", got)
		}
		if err != nil && fault.KindOf(err) == fault.Internal {
			t.Errorf("bad input gave an internal error: %v", err)
		}
	})
}

func FuzzOpenDirective(f *testing.F) {
	keys, director := directorKeys(f)
	d, want := goodDirective()
	good, err := trust.SealDirective(d, director)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := trust.OpenDirective(data, keys, want)
		if err == nil && !cmp.Equal(got, d) {
			t.Errorf("accepted a directive that the director never signed: %+v", got)
		}
		if err != nil && fault.KindOf(err) == fault.Internal {
			t.Errorf("bad input gave an internal error: %v", err)
		}
	})
}

func FuzzViewRefresh(f *testing.F) {
	repo := sensorRepo(f)
	names := []string{"2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", "2.director.json", "2." + sensor + ".json"}
	for i, name := range names {
		data := repo.Files[name]
		if data == nil {
			data = repo.Files["1.root.json"]
		}
		f.Add(i, data)
	}
	f.Add(5, []byte(`{"signed":{"_type":"targets","targets":{"a":null}},"signatures":[]}`))
	f.Fuzz(func(t *testing.T, which int, data []byte) {
		name := names[(which%len(names)+len(names))%len(names)]
		v := open(t, repo)
		_, err := v.Refresh(start, []string{sensor}, func(n string) ([]byte, error) {
			if n == name {
				return data, nil
			}
			return repo.Fetch(n)
		})
		if err != nil && fault.KindOf(err) == fault.Internal {
			t.Errorf("bad %s gave an internal error: %v", name, err)
		}
		if err == nil && !trust.SameSigned(roleOf(name), data, repo.Files[name]) {
			t.Errorf("accepted a %s that nobody signed", name)
		}
		_, _ = trust.Open(data, trust.Files{roleOf(name) + ".json": data})
	})
}

func roleOf(name string) string {
	name = string(bytes.TrimSuffix(bytes.TrimPrefix([]byte(name), []byte("2.")), []byte(".json")))
	return name
}

func BenchmarkOpenLease(b *testing.B) {
	keys, director := directorKeys(b)
	l, want := goodLease()
	envelope := sealedLease(b, l, director)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trust.OpenLease(envelope, keys, want); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealLease(b *testing.B) {
	_, director := directorKeys(b)
	l, _ := goodLease()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trust.SealLease(l, director); err != nil {
			b.Fatal(err)
		}
	}
}
