package api

import "time"

// NewUpload begins an upload, or finds the one of the same bytes that was begun before and goes on.
type NewUpload struct {
	Digest string `json:"digest"` // "sha256:" and 64 hexadecimal digits
	Size   int64  `json:"size"`   // bytes
}

// Upload is a blob on its way in. Its bytes are sent with PATCH and Content-Range, from Offset on.
type Upload struct {
	ID       string    `json:"id,omitempty"`
	Digest   string    `json:"digest"`
	Size     int64     `json:"size"`
	Offset   int64     `json:"offset"`           // bytes that are there and stay there
	Complete bool      `json:"complete"`         // it was verified and is stored; the upload is over
	Expires  time.Time `json:"expires,omitzero"` // unless more of it comes before
}

// UploadOffset is the header that tells where an upload stands, beside every answer about it: also where a 409 refused another offset.
const UploadOffset = "Upload-Offset"

// CollectGarbage asks for a collection of the blobs that nothing needs.
type CollectGarbage struct {
	DryRun bool `json:"dry_run,omitempty"` // only tell what would be removed
}

// Garbage is what a collection did, or would do.
type Garbage struct {
	DryRun       bool         `json:"dry_run"`
	Removed      []StoredBlob `json:"removed"`       // the first 1,000; Why is empty
	RemovedCount int          `json:"removed_count"` // blobs
	RemovedBytes int64        `json:"removed_bytes"`
	Kept         []StoredBlob `json:"kept"` // the first 1,000
	KeptCount    int          `json:"kept_count"`
	KeptBytes    int64        `json:"kept_bytes"`
	Missing      []StoredBlob `json:"missing,omitempty"` // needed, and not there: publish their releases again
}

// StoredBlob is one blob and why it is kept.
type StoredBlob struct {
	Digest string    `json:"digest"`
	Size   int64     `json:"size"`         // bytes; 0 if it is missing
	Put    time.Time `json:"put,omitzero"` // when it was put or asked for by a publisher last
	Why    string    `json:"why,omitempty"`
}
