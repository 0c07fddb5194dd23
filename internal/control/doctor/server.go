package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/health"
)

// maxAnswer bounds what is read of a server.
const maxAnswer = 8 << 20

// addresses looks whether a server could listen.
func (x *examination) addresses(ctx context.Context) {
	for _, address := range x.Listen {
		const check = "address"
		if x.running {
			x.skipped(check, "%s: the server that runs may have it", address)
			continue
		}
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			x.wrong(check, "Stop what listens there, or choose another address with --listen-operator or --listen-agents.", "%s cannot be listened on: %v", address, err)
			continue
		}
		_ = l.Close()
		x.good(check, "%s is free", address)
	}
}

// server asks a running server whether it is ready.
func (x *examination) server(ctx context.Context) {
	const check = "server"
	if x.Server == "" {
		return
	}
	code, body, err := x.get(ctx, x.Server+"/readyz")
	if err != nil {
		next := "Start the server, or name its address with --server."
		if x.running {
			next = "A server runs on this directory: find its address in its log ('listening'), and name it with --server."
		}
		x.wrong(check, next, "%s does not answer: %v", x.Server, err)
		return
	}
	var report health.Report
	if err := json.Unmarshal(body, &report); err != nil || len(report.Checks) == 0 {
		x.wrong(check, "Name the operators' address of the control plane with --server.", "%s answers %d, and not as a control plane does", x.Server, code)
		return
	}
	for _, c := range report.Checks {
		if c.OK {
			x.good(check+" "+c.Name, "since %s", stamp(c.Since))
		} else {
			x.wrong(check+" "+c.Name, c.Next, "%s, since %s", c.Why, stamp(c.Since))
		}
	}
	switch {
	case report.Draining:
		x.warn(check, "Wait for it to stop, and start it again.", "%s is being stopped", x.Server)
	case report.Ready:
		x.good(check, "%s is ready", x.Server)
	}
}

// agentPort looks at the certificate that agents see.
func (x *examination) agentPort(ctx context.Context) {
	const check = "agent port"
	if x.Agents == "" {
		return
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: unverified()}
	conn, err := dialer.DialContext(ctx, "tcp", x.Agents)
	if err != nil {
		x.wrong(check, "Start the server, or name the address of its agent port.", "%s: %v", x.Agents, err)
		return
	}
	defer conn.Close()
	secured, ok := conn.(*tls.Conn)
	if !ok || len(secured.ConnectionState().PeerCertificates) == 0 {
		x.wrong(check, "", "%s shows no certificate", x.Agents)
		return
	}
	const week = 7 * 24 * time.Hour
	x.expiry(check, "its certificate", secured.ConnectionState().PeerCertificates[0].NotAfter, week, "Restart the server: it makes a new one.")
}

// metrics looks whether the private port has them.
func (x *examination) metrics(ctx context.Context) {
	const check = "metrics"
	if x.Private == "" {
		return
	}
	code, body, err := x.get(ctx, x.Private+"/metrics")
	switch {
	case err != nil:
		x.wrong(check, "Start the server with --listen-private.", "%s does not answer: %v", x.Private, err)
	case code != http.StatusOK || !bytes.Contains(body, []byte("firebreak_build_info")):
		x.wrong(check, "Name the address that was given as --listen-private.", "%s answers %d, without metrics of firebreak", x.Private, code)
	default:
		x.good(check, "%s has them", x.Private)
	}
}

func (x *examination) get(ctx context.Context, url string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSpace(url), nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := x.Client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, body, err
}
