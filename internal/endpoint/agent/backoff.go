package agent

import (
	"errors"
	"time"
)

// When hosts come back. A million of them may have been turned away at one moment, so every pause is drawn from the whole of its range, and
// the first range is as long as the time between check-ins in good times: those who failed at once come back no faster than they always come.
// What the control plane asks for is taken within bounds, since it is not signed.
const (
	leastBackoff = time.Second      // range of a first pause, at least
	unheard      = 10 * time.Second // that of an agent which was never told when to come
	mostBackoff  = 2 * time.Minute
	tellBackoff  = 10 * time.Second // of a host that has harm to report, as few have: bad news must not wait long
	mostAsked    = 5 * time.Minute

	leastPoll = 250 * time.Millisecond
	mostPoll  = 15 * time.Minute
)

// retry is the pause after a check-in that failed. The first is anything up to the time between check-ins in good times. Later ones are no
// shorter than that, and up to three times the pause before: hosts that failed together drift apart. Whoever was asked to stay away does so
// besides, for up to as much again. Chance is from 0 to below 1.
func retry(before, normal, asked time.Duration, urgent bool, chance float64) time.Duration {
	from, to := time.Duration(0), min(max(normal, leastBackoff), mostBackoff/2)
	if before > 0 {
		from, to = to, min(max(3*before, 2*to), mostBackoff)
	}
	if urgent {
		from, to = 0, min(to, tellBackoff)
	}
	asked = min(max(asked, 0), mostAsked)
	return from + asked + time.Duration(chance*float64(max(to-from, asked)))
}

// next is the pause after a check-in that succeeded: what the control plane said, give or take a fifth.
func next(poll time.Duration, chance float64) time.Duration {
	return time.Duration((0.8 + 0.4*chance) * float64(poll))
}

// bounded takes what the control plane says of the next check-in: nobody can make an agent spin, or sleep for ever.
func bounded(millis int64, least time.Duration) time.Duration {
	return max(time.Duration(min(max(millis, 0), mostPoll.Milliseconds()))*time.Millisecond, least)
}

// asked is how long the control plane said to stay away, when it answered that it cannot now; else 0.
func asked(err error) time.Duration {
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &later) {
		return later.RetryAfter()
	}
	return 0
}
