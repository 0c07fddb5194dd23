package api

import "encoding/json"

// TrustKey is a public signing key.
type TrustKey struct {
	ID     string `json:"id"`     // TUF key id
	Public []byte `json:"public"` // Ed25519, 32 bytes
}

// OnlineKeys are the public keys that the control plane signs with. The publisher names them in the metadata that it signs offline.
type OnlineKeys struct {
	Snapshot  TrustKey `json:"snapshot"`
	Timestamp TrustKey `json:"timestamp"`
	Director  TrustKey `json:"director"` // directives and leases
}

// States of submitted metadata.
const (
	SubmissionPublished = "published" // it is served
	SubmissionPending   = "pending"   // it is good, but more keys have to sign it
)

// Submission says what became of submitted metadata.
type Submission struct {
	Role       string `json:"role"`
	Version    int64  `json:"version"`
	State      string `json:"state"`
	Signatures int    `json:"signatures"` // valid ones
	Threshold  int    `json:"threshold"`  // needed
}

// PendingMetadata waits for more signatures.
type PendingMetadata struct {
	Role      string          `json:"role"`
	Version   int64           `json:"version"`
	SignedBy  []string        `json:"signed_by"` // key ids
	Threshold int             `json:"threshold"`
	Metadata  json.RawMessage `json:"metadata"`
}
