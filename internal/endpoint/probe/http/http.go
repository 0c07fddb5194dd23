// Package http probes with a GET.
package http

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// MaxBody is how much of an answer is read, in bytes.
const MaxBody = 64 << 10

// Probe asks a URL.
type Probe struct {
	component.HTTP
	FS      disk.FS // to read AddressFile
	Timeout time.Duration
}

// Check asks and compares the status. Whatever keeps the consumer from answering is bad.
func (p Probe) Check(ctx context.Context) error {
	_, err := p.Get(ctx)
	return err
}

// Get asks, compares the status, and returns the beginning of the answer.
func (p Probe) Get(ctx context.Context) ([]byte, error) {
	url, err := p.url()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fault.New(fault.Conflict, "ask %s: %w", url, err)
	}
	// Not the default transport: a probe goes straight to its consumer, by no proxy, and leaves no connection behind.
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fault.New(fault.Conflict, "ask: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxBody))
	if err != nil {
		return nil, fault.New(fault.Conflict, "ask %s: %w", url, err)
	}
	if ok := p.Status == 0 && response.StatusCode/100 == 2 || response.StatusCode == p.Status; !ok {
		return nil, fault.New(fault.Conflict, "ask %s: answered %s, wanted %s", url, response.Status, p.wanted())
	}
	return body, nil
}

func (p Probe) wanted() string {
	if p.Status == 0 {
		return "200 to 299"
	}
	return fmt.Sprint(p.Status)
}

// url puts the consumer's address into the URL.
func (p Probe) url() (string, error) {
	if p.AddressFile == "" {
		return p.URL, nil
	}
	const limit = 512
	data, err := disk.ReadFile(p.FS, p.AddressFile, limit)
	if err != nil {
		return "", fault.New(fault.Conflict, "find the consumer's address: %w", err)
	}
	address := strings.TrimSpace(string(data))
	if _, _, err := net.SplitHostPort(address); err != nil || strings.ContainsAny(address, "/?#@ \n") {
		return "", fault.New(fault.Conflict, "find the consumer's address: %s holds %q, not host:port", p.AddressFile, address)
	}
	return strings.ReplaceAll(p.URL, component.Address, address), nil
}
