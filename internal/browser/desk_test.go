package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"
)

// order is what the walks want of the world.
type order struct {
	Do        string `json:"do"` // publish, silence, start, stop, slow, fast
	Component string `json:"component"`
	Version   string `json:"version"`
	Harms     string `json:"harms"` // version of the system of the hosts that the release harms, or "all"
	Hosts     int    `json:"hosts"` // how many fall silent; they are the last ones
}

// desk takes orders. It answers when they are carried out.
func (w *world) desk() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		var o order
		err := json.NewDecoder(r.Body).Decode(&o)
		if err == nil {
			err = w.carryOut(r, o)
		}
		if err != nil {
			http.Error(answer, err.Error(), http.StatusInternalServerError)
		}
	}))
}

func (w *world) carryOut(r *http.Request, o order) error {
	switch o.Do {
	case "publish":
		return w.publish(r.Context(), o.Component, o.Version, o.Harms)
	case "silence":
		for i, h := range w.hosts {
			h.silent.Store(i >= len(w.hosts)-o.Hosts)
		}
		return nil
	case "stop":
		w.stop()
		return nil
	case "start":
		return w.start(&words{}) //nolint:contextcheck // it outlives the request
	case "slow":
		return w.hold() //nolint:contextcheck // it outlives the request
	case "fast":
		w.fast()
		return nil
	}
	return fmt.Errorf("nobody here can %q", o.Do)
}

// remember gives the control plane a day of which it took samples: pictures of a fleet that joined a minute ago would show empty charts.
func (w *world) remember(ctx context.Context) error {
	db, err := w.database()
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	all := int64(len(w.hosts))
	sample := func(back time.Duration, component, version string, hosts, heard int64) {
		if err == nil {
			_, err = db.ExecContext(ctx, `INSERT INTO samples (at, component, version, hosts, heard) VALUES ($1, $2, $3, $4, $5)`,
				now().Add(-back).Truncate(time.Minute).UnixMicro(), component, version, hosts, heard)
		}
	}
	for back := 24 * time.Hour; back > 10*time.Minute; back -= 10 * time.Minute {
		asleep := int64(0)
		if hour := now().Add(-back).Hour(); hour < 6 { // laptops sleep at night
			asleep = all/5 - int64(hour)%2
		}
		sample(back, "", "", all, all-asleep)
	}
	for i, version := range []string{"2026.7.15", "2026.7.16", "2026.7.17"} {
		begun := time.Duration(20-7*i) * time.Hour
		for step := range int64(8) { // of the rollout that brings it
			back := begun - time.Duration(step)*15*time.Minute
			sample(back, components[0], version, all*(step+1)/8, all*(step+1)/8)
			if i > 0 {
				sample(back, components[0], fmt.Sprintf("2026.7.%d", 14+i), all-all*(step+1)/8, all-all*(step+1)/8)
			}
		}
	}
	return err
}
