package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/problem"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/token"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// known lets only enrolled endpoints through. The identity is the key of the client certificate, never anything in the request.
func (in *Ingest) known(handle func(http.ResponseWriter, *http.Request, fleet.EndpointID) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			in.fail(w, r, fault.New(fault.Denied, "identify the endpoint: the request came without a client certificate").
				Hint("join first: firebreak-agent join"))
			return
		}
		id := ca.EndpointOf(r.TLS.VerifiedChains[0][0])
		if _, ok := in.Fleet.Get(id); !ok {
			in.fail(w, r, unknown(id))
			return
		}
		if err := handle(w, r, id); err != nil {
			in.fail(w, r, err)
		}
	}
}

func unknown(id fleet.EndpointID) error {
	return fault.New(fault.Denied, "identify the endpoint: %s is not enrolled here", id).Hint("join again with a new token")
}

// enrol turns a join token and a key into an identity.
func (in *Ingest) enrol(w http.ResponseWriter, r *http.Request) {
	if err := in.doEnrol(w, r); err != nil {
		in.fail(w, r, fmt.Errorf("enrol: %w", err))
	}
}

func (in *Ingest) doEnrol(w http.ResponseWriter, r *http.Request) error {
	var body api.EnrolRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	if err := fault.Problems("read the request", append(checkAttributes(&body.Attributes), checkLabels(body.Labels)...)); err != nil {
		return err
	}
	certificate, id, err := in.CA.SignEndpoint(body.CSR)
	if err != nil {
		return err
	}
	now := in.Clock.Now()
	joined, err := in.Store.UseJoinToken(r.Context(), token.Hash(body.Token), now)
	if err != nil {
		return err
	}
	subject := fleet.Subject{Tenant: joined.Tenant, Attributes: fleet.Attributes(body.Attributes), Labels: body.Labels}
	row, err := rowOf(registry.Endpoint{ID: id, Enrolled: now, LastSeen: now, Subject: subject})
	if err != nil {
		return err
	}
	if err = in.Store.PutEndpoint(r.Context(), row); err != nil {
		return err
	}
	in.Fleet.Enrol(id, subject, now)
	root, err := in.Metadata.File(r.Context(), "1.root.json") // the endpoint walks on from the first
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	in.Log.InfoContext(r.Context(), "endpoint enrolled", slog.String("endpoint", string(id)), slog.String("tenant", string(joined.Tenant)),
		slog.String("token", joined.ID))
	return answer(w, api.EnrolReply{
		Endpoint: string(id), Tenant: string(joined.Tenant), Certificate: certificate, CA: in.CA.Certificate(), Root: root,
	})
}

// renew gives an endpoint a new certificate for its own key.
func (in *Ingest) renew(w http.ResponseWriter, r *http.Request, id fleet.EndpointID) error {
	var body api.RenewRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	certificate, renewed, err := in.CA.SignEndpoint(body.CSR)
	if err != nil {
		return fmt.Errorf("renew the certificate of %s: %w", id, err)
	}
	if renewed != id {
		return fault.New(fault.Denied, "renew the certificate of %s: the request is for another key", id)
	}
	return answer(w, api.RenewReply{Certificate: certificate})
}

func (in *Ingest) directive(w http.ResponseWriter, r *http.Request, _ fleet.EndpointID) error {
	component := r.PathValue("component")
	envelope, sequence := in.Engine.Directive(component)
	if sequence == 0 {
		return fault.New(fault.NotFound, "serve the directive of %q: there is none yet", component)
	}
	w.Header().Set("ETag", `"`+strconv.FormatInt(sequence, 10)+`"`)
	if r.Header.Get("If-None-Match") == w.Header().Get("ETag") {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	send(w, envelope)
	return nil
}

func (in *Ingest) metadata(w http.ResponseWriter, r *http.Request, _ fleet.EndpointID) error {
	if target, ok := strings.CutPrefix(r.PathValue("file"), "targets/"); ok {
		return in.target(w, r, target)
	}
	data, err := in.Metadata.File(r.Context(), r.PathValue("file"))
	if err != nil {
		return err
	}
	send(w, data)
	return nil
}

// target serves releases to any TUF client that has an identity here.
func (in *Ingest) target(w http.ResponseWriter, r *http.Request, path string) error {
	blob, _, err := in.Metadata.Target(r.Context(), path)
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }()
	http.ServeContent(w, r, "", time.Time{}, blob)
	return nil
}

func (in *Ingest) artifact(w http.ResponseWriter, r *http.Request, _ fleet.EndpointID) error {
	digest := release.Digest(r.PathValue("digest"))
	if !digest.Valid() {
		return fault.New(fault.Invalid, `serve an artifact: %q is not "sha256:" and 64 hexadecimal digits`, string(digest))
	}
	blob, _, err := in.Blobs.Open(r.Context(), digest)
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }()
	w.Header().Set("ETag", `"`+digest.Hex()+`"`)
	w.Header().Set("Cache-Control", "immutable, max-age=31536000")
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, blob)
	return nil
}

func answer(w http.ResponseWriter, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	send(w, data)
	return nil
}

// send writes JSON. A host that went away meanwhile is no error of ours.
func send(w http.ResponseWriter, data []byte) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) //nolint:gosec // no browser reads this port, and it is JSON
}

func (in *Ingest) fail(w http.ResponseWriter, r *http.Request, err error) {
	if kind := fault.KindOf(err); kind == fault.Internal || kind == fault.Unavailable {
		in.logFailure(r, "request failed", err)
	}
	if large := new(http.MaxBytesError); errors.As(err, &large) {
		problem.WriteStatus(w, http.StatusRequestEntityTooLarge, err, "")
		return
	}
	problem.Write(w, err, "")
}

// logFailure logs what a person must look at; a host that went away is none of it.
func (in *Ingest) logFailure(r *http.Request, what string, err error) {
	if r.Context().Err() == nil {
		in.Log.ErrorContext(r.Context(), what, slog.String("path", r.URL.Path), slog.Any("error", err)) //nolint:sloglint // what is a constant of the callers
	}
}
