package ingest

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/admission"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// What is put off when there is too much to do is decided by the desk. Directives and trust metadata are never put off: they may recall what
// a host runs. Nor is the check-in of a host that is exposed.

// handler serves a known endpoint.
type handler = func(http.ResponseWriter, *http.Request, fleet.EndpointID) error

// busyError turns somebody away for now.
type busyError struct {
	error
	retry time.Duration
}

func (b busyError) Unwrap() error { return b.error }

func busy(retry time.Duration) error {
	return busyError{fault.New(fault.Unavailable, "let the request in: there is too much to do").Hint("come again when Retry-After says"), retry}
}

// entered lets in what the desk lets in.
func (in *Ingest) entered(k admission.Kind, handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, id fleet.EndpointID) error {
		if retry := in.Desk.Enter(k, in.chance(id)); retry > 0 {
			return busy(retry)
		}
		defer in.Desk.Leave()
		return handle(w, r, id)
	}
}

// fetching is entered for downloads.
func (in *Ingest) fetching(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, id fleet.EndpointID) error {
		if retry := in.Desk.Fetch(id, in.chance(id)); retry > 0 {
			return busy(retry)
		}
		defer in.Desk.Fetched(id)
		takeTime(w)
		return handle(w, r, id)
	}
}

// takeTime lifts the limit of time for reading from the connection, once all has been read: answering may take longer.
func takeTime(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // not every line has one
}

// chance spreads over time those who are turned away together.
func (in *Ingest) chance(id fleet.EndpointID) float64 { return chance(id, in.Clock.Now().UnixNano()) }

// refuseBusy writes when to come again. The connection goes: whoever waits needs none.
func refuseBusy(w http.ResponseWriter, b busyError) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(b.retry.Seconds()))))
	w.Header().Set("Connection", "close")
}

// welcome lets everybody in.
type welcome struct{}

func (welcome) Enter(admission.Kind, float64) time.Duration   { return 0 }
func (welcome) Leave()                                        {}
func (welcome) Fetch(fleet.EndpointID, float64) time.Duration { return 0 }
func (welcome) Fetched(fleet.EndpointID)                      {}
func (welcome) Hold() bool                                    { return true }
func (welcome) Release()                                      {}
func (welcome) Poll(poll time.Duration) time.Duration         { return poll }
