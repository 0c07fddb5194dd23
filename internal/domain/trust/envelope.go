package trust

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// seal signs a payload as a DSSE envelope.
func seal(payloadType string, payload any, signers []*Signer) ([]byte, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", payloadType, err)
	}
	if len(signers) == 0 {
		return nil, fault.New(fault.Internal, "seal %s: nobody signs it", payloadType)
	}
	envelope := dsse.Envelope{PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(body)}
	for _, s := range signers {
		sig, errSign := s.sign(dsse.PAE(payloadType, body))
		if errSign != nil {
			return nil, errSign
		}
		envelope.Signatures = append(envelope.Signatures, dsse.Signature{KeyID: s.id, Sig: base64.StdEncoding.EncodeToString(sig)})
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
	body, err := verifyEnvelope(envelope, keys)
	if err != nil {
		return refuse("%w", err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fault.New(fault.Invalid, "open %s: it is well signed but unreadable: %w", what, err)
	}
	return nil
}

// verifyEnvelope gives the payload if enough of the keys signed it. A signature that does not name its key counts for nothing.
func verifyEnvelope(envelope dsse.Envelope, keys Keys) ([]byte, error) {
	body, err := base64.StdEncoding.DecodeString(envelope.Payload)
	if err != nil {
		return nil, fmt.Errorf("its payload is not base64: %w", err)
	}
	signatures := make([]metadata.Signature, 0, len(envelope.Signatures))
	named := make([]string, 0, len(envelope.Signatures))
	for _, s := range envelope.Signatures {
		sig, errSig := base64.StdEncoding.DecodeString(s.Sig)
		if errSig != nil {
			return nil, fmt.Errorf("the signature of key %s is not base64: %w", short(s.KeyID), errSig)
		}
		signatures = append(signatures, metadata.Signature{KeyID: s.KeyID, Signature: sig})
		named = append(named, short(s.KeyID))
	}
	valid := tally(dsse.PAE(envelope.PayloadType, body), signatures, keys)
	if len(valid) < keys.Threshold {
		return nil, fmt.Errorf("%d of %d needed signatures of role %s are valid (signed by %v, the role's keys are %v)",
			len(valid), keys.Threshold, RoleDirector, named, shorts(keys))
	}
	return body, nil
}

func shorts(keys Keys) []string {
	all := make([]string, 0, len(keys.Public))
	for _, id := range keys.IDs() {
		all = append(all, short(id))
	}
	return all
}
