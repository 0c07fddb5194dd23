package api

// Freezes are the spans of time in which no rollout of the installation exposes anybody. Halts, rollbacks and what is decided on outcomes
// go on in a freeze.
type Freezes struct {
	Freezes []Freeze `json:"freezes"`
	// Tag names this list, as it was read. A list that is put with the tag of another one than is stored is a conflict, so that nobody
	// overwrites what he has not seen; without a tag it replaces whatever there is.
	Tag string `json:"tag,omitempty"`
}

// Freeze is a span of time between two times on the wall of a zone.
type Freeze struct {
	Name string `json:"name"`           // why, for people: "Christmas"
	From string `json:"from"`           // "2026-12-20" or "2026-12-20T18:00", inclusive
	To   string `json:"to"`             // "2027-01-06", that whole day included, or "2027-01-06T12:00", exclusive
	Zone string `json:"zone,omitempty"` // IANA name as in "Europe/Vienna"; UTC if left out
}
