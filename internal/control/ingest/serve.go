package ingest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/admission"
	"github.com/firebreak-dev/firebreak/internal/control/problem"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/token"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// enrol turns a join token and a key into an identity.
func (in *Ingest) enrol(w http.ResponseWriter, r *http.Request) {
	if retry := in.Desk.Enter(admission.Join, in.chance(fleet.EndpointID(r.RemoteAddr))); retry > 0 {
		in.fail(w, r, fmt.Errorf("enrol: %w", busy(retry)))
		return
	}
	defer in.Desk.Leave()
	if err := in.doEnrol(w, r); err != nil {
		in.fail(w, r, fmt.Errorf("enrol: %w", err))
	}
}

func (in *Ingest) doEnrol(w http.ResponseWriter, r *http.Request) error {
	var body api.EnrolRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	if err := checkEnrolment(body); err != nil {
		return err
	}
	certificate, id, err := in.CA.SignEndpoint(body.CSR)
	if err != nil {
		return err
	}
	now := in.Clock.Now()
	if !token.Plausible(token.JoinPrefix, body.Token) { // garbage costs the database nothing
		return fault.New(fault.Denied, "the token is not one of this server's join tokens").Hint("Ask the operator for a new join token.")
	}
	subject := fleet.Subject{Attributes: fleet.Attributes(body.Attributes), Labels: body.Labels}
	row, err := rowOf(registry.Endpoint{ID: id, Enrolled: now, LastSeen: now, Subject: subject})
	if err != nil {
		return err
	}
	joined, number, err := in.Store.Join(r.Context(), token.Hash(body.Token), now, row)
	if err != nil {
		return err
	}
	subject.Tenant = joined.Tenant
	in.Fleet.Enrol(id, subject, now)
	in.Fleet.Assign(id, number)
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
	if err := fault.Problems("read the request", checkCSR(body.CSR)); err != nil {
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
	sendTagged(w, r, strconv.FormatInt(sequence, 10), fresh, envelope)
	return nil
}

// What a cache between here and the hosts may do. A directive may halt a rollout: it must not be late by more than a moment.
const (
	fresh   = "public, max-age=1"
	forever = "public, max-age=31536000, immutable"
)

func (in *Ingest) metadata(w http.ResponseWriter, r *http.Request, _ fleet.EndpointID) error {
	name := r.PathValue("file")
	if target, ok := strings.CutPrefix(name, "targets/"); ok {
		return in.target(w, r, target)
	}
	data, err := in.Metadata.File(r.Context(), name)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	cache := fresh
	if '0' <= name[0] && name[0] <= '9' { // a version: it never changes
		cache = forever
	}
	sendTagged(w, r, hex.EncodeToString(sum[:16]), cache, data)
	return nil
}

// sendTagged writes a document, unless whoever asks has it already.
func sendTagged(w http.ResponseWriter, r *http.Request, tag, cache string, data []byte) {
	tag = `"` + tag + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", cache)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	send(w, data)
}

// target serves releases to any TUF client that has an identity here.
func (in *Ingest) target(w http.ResponseWriter, r *http.Request, path string) error {
	blob, _, err := in.Metadata.Target(r.Context(), path)
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }()
	takeTime(w)
	w.Header().Set("Cache-Control", forever) // its name has its digest
	http.ServeContent(w, r, "", time.Time{}, blob)
	return nil
}

func (in *Ingest) artifact(w http.ResponseWriter, r *http.Request, _ fleet.EndpointID) error {
	digest := release.Digest(r.PathValue("digest"))
	if !digest.Valid() {
		return fault.New(fault.Invalid, `serve an artifact: %q is not "sha256:" and 64 hexadecimal digits`, string(digest))
	}
	if in.encoded(w, r, digest) {
		return nil
	}
	blob, _, err := in.Blobs.Open(r.Context(), digest)
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }()
	w.Header().Set("ETag", `"`+digest.Hex()+`"`)
	w.Header().Set("Cache-Control", forever)
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
	if turned, ok := errors.AsType[busyError](err); ok {
		refuseBusy(w, turned)
		problem.Write(w, err, "")
		return
	}
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

// tenantOf is the tenant of whoever sent a request; empty if it is not known yet.
func (in *Ingest) tenantOf(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return ""
	}
	e, _ := in.Fleet.Get(identify(r))
	return string(e.Subject.Tenant)
}
