package api

// PathDeltas is where agents ask for the deltas of an artifact: GET sha256:<hex> gives a [DeltaList]. A delta itself is a blob, served
// like an artifact under its own digest.
const PathDeltas = "/v1/deltas/"

// Forms of deltas. None of them is signed, and none needs to be: the artifact that comes out has the signed digest or is thrown away.
const (
	DeltaDCZ     = "dcz"     // of small content: zstd with the old artifact as dictionary, as RFC 9842 has it
	DeltaZstd    = "zstd"    // of small content, from nothing: zstd
	DeltaWindows = "windows" // of anything: in windows, each with its own region of the old artifact; or from nothing
)

// Limits of what is said about deltas.
const (
	MaxDeltas    = 64       // of one artifact
	MaxDeltaList = 64 << 10 // bytes of a DeltaList
)

// DeltaList has the deltas that lead to one artifact.
type DeltaList struct {
	Deltas []Delta `json:"deltas"`
}

// Delta leads from one artifact to another.
type Delta struct {
	From   string `json:"from,omitempty"` // digest of the artifact that it needs; empty: it needs none
	Digest string `json:"digest"`         // of the delta
	Size   int64  `json:"size"`           // of the delta, in bytes
	Form   string `json:"form"`
}

// DeltaOf is a delta with the artifact that it leads to.
type DeltaOf struct {
	Artifact string `json:"artifact"`
	Delta
}
