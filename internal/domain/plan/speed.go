package plan

import (
	"math"
	"strings"
	"time"
)

// How long a round lasts in a fleet that polls every minute, and how many of its hosts fall silent for no reason.
const (
	quickRound = 2 * time.Minute // everybody confirms at once
	asking     = time.Minute     // until all of a round have asked
	tooLong    = 100 * 365 * 24 * time.Hour
	mayLack    = 0.01 // share of a round that may be without an outcome when the next one begins
	asleep     = servers*serverSilence + (1-servers)*laptopSilence
)

// Takes estimates how long a good update needs to reach a fleet of so many hosts that all are there: rounds, and bakes. A round lasts until
// the deadline if one of its hosts falls silent for no reason, and two minutes if none does. Evidence that needs more time than the bake,
// such as boots and host-hours, is not counted, nor are calendars.
func (p Plan) Takes(hosts int64) time.Duration {
	var took time.Duration
	var exposed, granted int64
	window := p.Window.Start
	for k, ring := range p.Rings {
		for left := min(p.Size(k, hosts, exposed), hosts-exposed); left > 0; {
			n, rounds := min(left, window-granted), int64(1)
			if granted == 0 && p.grown(window) == window {
				rounds = max(1, left/window) // it does not grow any more: as many rounds as there are
			}
			took += time.Duration(min(float64(rounds)*float64(p.round(n)), float64(tooLong)))
			left, exposed, granted = left-rounds*n, exposed+rounds*n, granted+n
			if granted >= window {
				window, granted = p.grown(window), 0
			}
		}
		took += time.Duration(ring.Evidence.Bake)
		if exposed >= hosts {
			break
		}
	}
	return took
}

// grown is the window after a round in which all hosts confirmed.
func (p Plan) grown(window int64) int64 {
	wanted := min(p.Window.Growth*float64(window), float64(p.Window.Max), MaxHosts)
	return max(window, int64(wanted))
}

// round is how long a round of n hosts lasts on average. A hundredth of a large round may be without an outcome when the next one begins,
// so it waits for the first of its silent hosts only.
func (p Plan) round(n int64) time.Duration {
	waits, late := 1-math.Pow(1-asleep, float64(n)), 0.5
	if n >= 1/mayLack {
		late = max(0, 1-mayLack/asleep)
	}
	longer := max(0, time.Duration(p.Lease.Deadline)+time.Duration(late*float64(asking))-quickRound)
	return quickRound + time.Duration(waits*float64(longer))
}

// exact writes a duration without the zeros at its end: 24h, 15m, 1h30m.
func exact(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
