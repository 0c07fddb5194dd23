package api

// Problem is an error on the wire: RFC 9457, media type application/problem+json.
type Problem struct {
	Type     string         `json:"type"`               // "urn:firebreak:" and the fault's kind
	Title    string         `json:"title"`              // the kind in words
	Code     string         `json:"code,omitempty"`     // what programs may tell apart beyond the kind: "starting", the control plane is not open yet; "session_expired", sign in again
	Status   int            `json:"status"`             // HTTP status
	Detail   string         `json:"detail"`             // what was being done, to what, why it failed
	Instance string         `json:"instance,omitempty"` // "urn:firebreak:request:" and the request id
	Next     string         `json:"next,omitempty"`
	Problems []FieldProblem `json:"problems,omitempty"` // every mistake of an invalid document
	Request  string         `json:"request,omitempty"`  // request id, for the server's log
}

// FieldProblem is one mistake in an input document.
type FieldProblem struct {
	Path    string `json:"path"`
	Message string `json:"message"`
	Line    int    `json:"line,omitempty"`
}

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"
