package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

func answerTests() []test {
	return []test{
		{"answer/is given again", answerGivenAgain},
		{"answer/one of many claims at once", answerClaimedOnce},
		{"answer/what died is taken over", answerTakenOver},
		{"answer/is forgotten after a day", answerForgotten},
		{"page/tokens", tokenPages},
		{"page/releases", releasePages},
		{"page/incidents", incidentPages},
	}
}

func keyed(key string) store.Keyed {
	return store.Keyed{Token: "t1", Key: key, Sum: []byte("sum"), At: now}
}

func answerGivenAgain(t *testing.T, s *store.Store) {
	claim := must[[]byte](t)
	if got := claim(s.ClaimAnswer(t.Context(), keyed("k"))); got != nil {
		t.Errorf("got %q for a new key, want nothing", got)
	}
	_, err := s.ClaimAnswer(t.Context(), keyed("k"))
	refused(t, err, fault.Conflict)
	ok(t, s.KeepAnswer(t.Context(), keyed("k"), []byte("done")))
	ok(t, s.ForgetAnswer(t.Context(), keyed("k"))) // it is kept: only what is under way is forgotten
	same(t, claim(s.ClaimAnswer(t.Context(), keyed("k"))), []byte("done"))
	another, others := keyed("k"), keyed("k")
	another.Sum, others.Token = []byte("another"), "t2"
	_, err = s.ClaimAnswer(t.Context(), another)
	refused(t, err, fault.Invalid)
	if got := claim(s.ClaimAnswer(t.Context(), others)); got != nil {
		t.Errorf("got %q for another token, want nothing", got)
	}
	ok(t, s.ForgetAnswer(t.Context(), others))
	if got := claim(s.ClaimAnswer(t.Context(), others)); got != nil {
		t.Errorf("got %q for a forgotten key, want nothing", got)
	}
}

func answerClaimedOnce(t *testing.T, s *store.Store) {
	var group sync.WaitGroup
	results := make(chan error, 8)
	for range cap(results) {
		group.Go(func() {
			_, err := s.ClaimAnswer(t.Context(), keyed("k"))
			results <- err
		})
	}
	group.Wait()
	close(results)
	claims := 0
	for err := range results {
		if err == nil {
			claims++
			continue
		}
		refused(t, err, fault.Conflict)
	}
	if claims != 1 {
		t.Errorf("%d claims were granted, want one", claims)
	}
}

func answerTakenOver(t *testing.T, s *store.Store) {
	must[[]byte](t)(s.ClaimAnswer(t.Context(), keyed("k")))
	later := keyed("k")
	later.At = after(59 * time.Second)
	_, err := s.ClaimAnswer(t.Context(), later)
	refused(t, err, fault.Conflict)
	later.At = after(61 * time.Second)
	if got := must[[]byte](t)(s.ClaimAnswer(t.Context(), later)); got != nil {
		t.Errorf("got %q, want nothing", got)
	}
	later.At = after(62 * time.Second)
	_, err = s.ClaimAnswer(t.Context(), later)
	refused(t, err, fault.Conflict)
}

func answerForgotten(t *testing.T, s *store.Store) {
	must[[]byte](t)(s.ClaimAnswer(t.Context(), keyed("k")))
	ok(t, s.KeepAnswer(t.Context(), keyed("k"), []byte("done")))
	later := keyed("k")
	later.At = after(24 * time.Hour)
	if got := must[[]byte](t)(s.ClaimAnswer(t.Context(), later)); got == nil {
		t.Error("got nothing within a day, want the answer")
	}
	later.At = after(24*time.Hour + time.Second)
	if got := must[[]byte](t)(s.ClaimAnswer(t.Context(), later)); got != nil {
		t.Errorf("got %q after a day, want nothing", got)
	}
}

func tokenPages(t *testing.T, s *store.Store) {
	for i, created := range []time.Duration{2 * time.Second, time.Second, time.Second, 3 * time.Second} {
		row := token(fmt.Sprintf("t%d", i))
		row.Created = after(created)
		ok(t, s.PutToken(t.Context(), row))
	}
	all := must[[]store.Token](t)(s.Tokens(t.Context()))
	var paged []store.Token
	for {
		var last store.Token
		if len(paged) > 0 {
			last = paged[len(paged)-1]
		}
		page := must[[]store.Token](t)(s.TokensPage(t.Context(), last.Created, last.ID, 1))
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
	}
	same(t, paged, all)
}

func releasePages(t *testing.T, s *store.Store) {
	var all []release.Published
	for _, component := range []string{"b", "a", "c"} {
		for serial := int64(1); serial <= 3; serial++ {
			all = append(all, published(component, fmt.Sprint(serial), serial))
		}
	}
	ok(t, s.SaveMetadata(t.Context(), nil, all))
	for _, component := range []string{"", "b", "unknown"} {
		var paged []release.Published
		behind, serial := "", int64(0)
		for {
			page := must[[]release.Published](t)(s.ReleasesPage(t.Context(), component, behind, serial, 2))
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			behind, serial = page[len(page)-1].Manifest.Component, page[len(page)-1].Manifest.Serial
		}
		same(t, paged, must[[]release.Published](t)(s.Releases(t.Context(), component)))
	}
}

func incidentPages(t *testing.T, s *store.Store) {
	var all []*store.Incident
	for i := range 5 {
		all = append(all, incident("r1", fmt.Sprintf("i%d", i)))
	}
	opened(t, s, all...)
	var paged []store.Incident
	before := int64(0)
	for {
		page := must[[]store.NumberedIncident](t)(s.IncidentsPage(t.Context(), before, 2))
		if len(page) == 0 {
			break
		}
		for _, one := range page {
			paged, before = append(paged, one.Incident), one.Number
		}
	}
	want := must[[]store.Incident](t)(s.Incidents(t.Context()))
	if len(want) != 5 {
		t.Fatalf("got %d incidents, want 5", len(want))
	}
	same(t, paged, want)
}
