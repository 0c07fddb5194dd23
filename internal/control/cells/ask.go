package cells

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// ask puts a question once. There is no second try: it is put again soon.
func (c *Cells) ask(ctx context.Context, p Peer, q question) (rollout.CellHeard, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	where, err := url.Parse(p.URL)
	if err != nil {
		return rollout.CellHeard{}, err
	}
	where = where.JoinPath(api.CellPath, url.PathEscape(q.component), url.PathEscape(string(q.manifest)))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), http.NoBody)
	if err != nil {
		return rollout.CellHeard{}, c.worded(err)
	}
	request.Header.Set("Authorization", "Bearer "+p.Token)
	response, err := c.client.Do(request)
	if err != nil {
		return rollout.CellHeard{}, c.worded(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return rollout.CellHeard{}, c.worded(err)
	case response.StatusCode == http.StatusUnauthorized:
		return rollout.CellHeard{}, errors.New("it does not take the token that it was shown")
	case response.StatusCode != http.StatusOK:
		return rollout.CellHeard{}, fmt.Errorf("it answered %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	case len(body) > maxBody:
		return rollout.CellHeard{}, fmt.Errorf("it answered more than %d bytes", maxBody)
	}
	return read(p.Name, body)
}

// read makes of an answer what a rollout has to know: why a rollout goes on is nobody else's affair.
func read(cell string, body []byte) (rollout.CellHeard, error) {
	var a api.CellState
	if err := json.Unmarshal(body, &a); err != nil {
		return rollout.CellHeard{}, errors.New("its answer cannot be read")
	}
	if a.Cell != cell {
		return rollout.CellHeard{}, fmt.Errorf("it says that it is cell %q", clip(a.Cell))
	}
	heard := rollout.CellHeard{Name: cell, Phase: rollout.Phase(clip(a.Phase)), Alarm: breaker.Alarm(clip(a.Alarm)), Recalled: a.Recalled}
	if heard.Recalled || heard.Phase.Final() {
		heard.Reason = clip(a.Reason)
		if a.Ended != nil {
			heard.Ended = a.Ended.UTC().Truncate(time.Microsecond)
		}
	}
	return heard, nil
}

// worded says why there was no answer, without the URL.
func (c *Cells) worded(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", c.Timeout)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
