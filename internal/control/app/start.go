package app

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/blob/s3"
	"github.com/firebreak-dev/firebreak/internal/control/health"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/control/web"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// start is a control plane that is being opened. Its ports answer from the first moment on and stay the same ones; what has failed and may
// heal is tried again for as long as it takes. Agents find their port closed meanwhile: whoever is refused a connection asks another
// replica at once, or stays as it is and comes again (I7), and nothing that is half open ever has to answer a host.
type start struct {
	Options
	*health.Start
	operators *port
	private   *port // nil: none
	stuck     chan struct{}
	stick     func() // closes stuck
}

// begin checks the settings and listens.
func begin(ctx context.Context, o Options) (*start, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := newStart(o)
	if err := s.listen(ctx); err != nil {
		return nil, errors.Join(o.inUse(ctx), err, s.close())
	}
	return s, nil
}

func newStart(o Options) *start {
	s := &start{Options: o, Start: health.NewStart(o.Clock, component(o.Log, "start")), stuck: make(chan struct{})}
	s.stick = sync.OnceFunc(func() { close(s.stuck) })
	return s
}

// check finds what is wrong with the settings: waiting does not mend it.
func (o Options) check() error {
	if err := loopback(o.Operators); err != nil {
		return err
	}
	if o.Database != "" {
		if err := postgres.Check(o.Database); err != nil {
			return err
		}
	}
	if o.Blobs != "" {
		return s3.Check(o.Blobs)
	}
	return nil
}

// inUse says why a port is taken, if it is by a control plane on the same data.
func (o Options) inUse(ctx context.Context) error {
	if o.Database != "" {
		return nil
	}
	s, err := sqlite.Open(ctx, filepath.Join(o.Data, databaseName))
	if err == nil {
		return s.Close()
	}
	if fault.KindOf(err) == fault.Conflict {
		return err
	}
	return nil
}

// until does what may fail for a while, until it is done, or waiting cannot mend why it is not, or ctx ends.
func (s *start) until(ctx context.Context, do func(context.Context) error) error {
	for failures := 0; ; failures++ {
		err := do(ctx)
		switch {
		case err == nil:
			s.Opened(ctx)
			return nil
		case ctx.Err() != nil:
			return ctx.Err() // what failed did so because of that
		case !heals(err):
			return err
		}
		s.Failed(ctx, advised(err))
		s.stick()
		if err = s.Clock.Sleep(ctx, pause(failures, chance())); err != nil {
			return err
		}
	}
}

// chance is a number from 0 to below 1.
func chance() float64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // does not fail
	const bits = 53
	return float64(binary.LittleEndian.Uint64(b[:])>>(64-bits)) / (1 << bits)
}

// Until it is open, a request waits as it would in the kernel: most starts take less than a second. It is refused at once if something is
// known to be away.
const (
	patience   = 3 * time.Second
	comeAgain  = 2 * time.Second
	startsCode = "starting"
)

// handler answers on a port while the control plane is being opened.
func (s *start) handler(p *port) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", s.Live())
	mux.Handle("GET /readyz", s.Ready())
	console := web.Handler()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if p == s.operators && server.ForPeople(r) {
			console.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		select {
		case <-p.opened:
			p.next.ServeHTTP(w, r)
		case <-s.stuck:
			refuse(w, s.Waits())
		case <-ctx.Done():
			refuse(w, s.Waits())
		}
	})
	return mux
}

// refuse says why nothing is answered yet.
func refuse(w http.ResponseWriter, why error) {
	data, err := json.Marshal(api.Problem{
		Type: "urn:firebreak:" + string(fault.Unavailable), Title: startsCode, Code: startsCode, Status: http.StatusServiceUnavailable,
		Detail: why.Error(), Next: fault.NextOf(why),
	})
	if err != nil {
		data = []byte(`{"title":"starting"}`)
	}
	header := w.Header()
	header.Set("Content-Type", api.ProblemType)
	header.Set("Cache-Control", "no-store")
	header.Set("Retry-After", strconv.Itoa(int(comeAgain/time.Second)))
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write(append(data, '\n'))
}

// close gives the ports back.
func (s *start) close() error {
	var failed []error
	for _, p := range s.ports() {
		failed = append(failed, p.close())
	}
	return errors.Join(failed...)
}

// ports are those that are open.
func (s *start) ports() []*port {
	var open []*port
	for _, p := range []*port{s.operators, s.private} {
		if p != nil {
			open = append(open, p)
		}
	}
	return open
}
