package uplink

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Limits of an event stream. A stream has a word every half minute and ends after some minutes.
const (
	maxLine   = 256
	maxStream = 64 << 10
)

// ErrNoEvents is that the control plane holds no line to this endpoint now: it is not exposed, or there is no room.
var ErrNoEvents = errors.New("the control plane holds no line to this endpoint now")

// Events holds a line on which the control plane says that there is something new. It calls heard for each word on it: with look when the
// endpoint should check in now, without when the line is just alive. It reads on when heard has returned. It returns when the line ends,
// with nil if it ended in good order, which says nothing about why; it has no limit in time but that of ctx.
func (c *Client) Events(ctx context.Context, heard func(look bool)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+api.PathEvents, http.NoBody)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.unreached(err)
	}
	defer func() { _ = response.Body.Close() }()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent:
		return ErrNoEvents
	default:
		data, _ := io.ReadAll(io.LimitReader(response.Body, maxStream))
		return later(response, problem("GET "+api.PathEvents, response.StatusCode, data))
	}
	heard(false) // it is open
	return words(io.LimitReader(response.Body, maxStream), heard)
}

// words reads a stream of events until it ends.
func words(from io.Reader, heard func(look bool)) error {
	lines := bufio.NewReaderSize(from, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			return fault.New(fault.Denied, "listen for events: a line is longer than %d bytes", maxLine)
		case err != nil:
			return fault.New(fault.Unavailable, "listen for events: %w", err)
		case len(line) > 1 && line[0] != '\r': // an empty one ends an event
			heard(string(line) == "data: look\n" || string(line) == "data: look\r\n")
		}
	}
}
