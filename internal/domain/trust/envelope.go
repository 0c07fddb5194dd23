package trust

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// seal signs a payload as a DSSE envelope.
func seal(payloadType string, payload any, signers []*Signer) ([]byte, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", payloadType, err)
	}
	providers := make([]dsse.Signer, 0, len(signers))
	for _, s := range signers {
		providers = append(providers, s)
	}
	signer, err := dsse.NewEnvelopeSigner(providers...)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", payloadType, err)
	}
	envelope, err := signer.SignPayload(context.Background(), payloadType, body)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", payloadType, err)
	}
	data, err := json.Marshal(envelope)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", payloadType, err)
	}
	return data, nil
}

// unsealEnvelope verifies an envelope and decodes its payload into the value that into points to. Fields that this version does not
// know are passed over, so that a newer control plane can talk to older endpoints; what must not be passed over gets a new payload type.
func unsealEnvelope(what, payloadType string, data []byte, keys Keys, into any) error {
	refuse := func(format string, args ...any) error {
		return fault.New(fault.Denied, "open %s: %w", what, fmt.Errorf(format, args...))
	}
	if len(data) > MaxEnvelope {
		return refuse("it has %d bytes, %d is the most", len(data), MaxEnvelope)
	}
	if err := keys.Check(RoleDirector); err != nil {
		return refuse("%w", err)
	}
	var envelope dsse.Envelope
	if err := json.Unmarshal(data, &envelope); err != nil {
		return refuse("it is not a DSSE envelope: %w", err)
	}
	if envelope.PayloadType != payloadType {
		return refuse("its payload type is %q, must be %q", envelope.PayloadType, payloadType)
	}
	if n := len(envelope.Signatures); n == 0 || n > maxSignatures {
		return refuse("it has %d signatures, must be 1 to %d", n, maxSignatures)
	}
	body, err := verifyEnvelope(&envelope, keys)
	if err != nil {
		return refuse("%w", err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fault.New(fault.Invalid, "open %s: it is well signed but unreadable: %w", what, err)
	}
	return nil
}

func verifyEnvelope(envelope *dsse.Envelope, keys Keys) ([]byte, error) {
	providers := make([]dsse.Verifier, 0, len(keys.Public))
	for _, id := range keys.IDs() {
		providers = append(providers, verifier{id: id, public: keys.Public[id]})
	}
	verify, err := dsse.NewMultiEnvelopeVerifier(keys.Threshold, providers...)
	if err != nil {
		return nil, err
	}
	accepted, body, err := verify.VerifyAndDecode(context.Background(), envelope)
	if err == nil {
		return body, nil
	}
	named := make([]string, 0, len(envelope.Signatures))
	for _, s := range envelope.Signatures {
		named = append(named, short(s.KeyID))
	}
	return nil, fmt.Errorf("%d of %d needed signatures of role %s are valid (signed by %v, the role's keys are %v): %w",
		len(accepted), keys.Threshold, RoleDirector, named, shorts(keys), err)
}

func shorts(keys Keys) []string {
	all := make([]string, 0, len(keys.Public))
	for _, id := range keys.IDs() {
		all = append(all, short(id))
	}
	return all
}
