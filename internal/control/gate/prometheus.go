package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// refusal is an error that Prometheus itself reported.
type refusal struct{ kind, text string }

func (r *refusal) Error() string {
	return fmt.Sprintf("no data: Prometheus says %s: %s", r.kind, r.text)
}

// reply is the envelope of Prometheus' HTTP API, version 1.
type reply struct {
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	Data      struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
}

// series is an element of a vector. A native histogram comes without a value.
type series struct {
	Value *point `json:"value"`
}

// point is [seconds, "value"]; the value is text, because JSON has no NaN.
type point [2]json.RawMessage

// parse reads the answer to an instant query. A vector without elements gives no samples. A warning means that a part of the data was not
// reached: the rest proves nothing.
func parse(body []byte) ([]float64, error) {
	var r reply
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, errors.New("no data: what Prometheus answered is not the JSON of its API")
	}
	switch {
	case r.Status == "error":
		return nil, &refusal{r.ErrorType, r.Error}
	case r.Status != "success":
		return nil, fmt.Errorf("no data: Prometheus answered the status %q", r.Status)
	case len(r.Warnings) > 0:
		return nil, fmt.Errorf("no data: Prometheus warns: %s", strings.Join(r.Warnings, "; "))
	}
	switch r.Data.ResultType {
	case "vector":
		return vector(r.Data.Result)
	case "scalar":
		return scalar(r.Data.Result)
	default:
		return nil, fmt.Errorf("no data: the query gives a %q; a gate needs a vector or a scalar", r.Data.ResultType)
	}
}

func scalar(result json.RawMessage) ([]float64, error) {
	var p point
	if err := json.Unmarshal(result, &p); err != nil {
		return nil, errors.New("no data: the query's scalar cannot be read")
	}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	return []float64{v}, nil
}

func vector(result json.RawMessage) ([]float64, error) {
	var elements []series
	if err := json.Unmarshal(result, &elements); err != nil {
		return nil, errors.New("no data: the query's vector cannot be read")
	}
	samples := make([]float64, len(elements))
	for i, e := range elements {
		if e.Value == nil {
			return nil, errors.New("no data: the query gives a histogram; a gate needs numbers")
		}
		v, err := e.Value.value()
		if err != nil {
			return nil, err
		}
		samples[i] = v
	}
	return samples, nil
}

func (p point) value() (float64, error) {
	var text string
	if err := json.Unmarshal(p[1], &text); err != nil {
		return 0, errors.New("no data: a sample has no value")
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("no data: a sample is %q, which is no number", text)
	}
	return v, nil
}
