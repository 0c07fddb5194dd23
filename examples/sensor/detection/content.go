// Package detection is the sensor's engine: detection content, the events it is matched with, and the content validator.
//
// The sensor supplies [Inputs] inputs with every event. Content says itself how many fields its criteria have, and the
// engine believes it, as a real one did on 19 July 2024: a criterion beyond the inputs is harmless while it is a
// wildcard, which is skipped without reading the input, and fatal when it is not.
package detection

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// File is the name of the file in a content directory that holds the rules.
const File = "detections.json"

// Inputs is how many inputs the sensor supplies with each event.
const Inputs = 20

// Wildcard is the criterion that is always met and never reads its input.
const Wildcard = "*"

const maxSize = 4 << 20 // bytes of a content file

// Content is a set of rules for one template, as read from a content file.
type Content struct {
	Template string `json:"template"` // what kind of event the rules are for; "ipc" is the only one
	Fields   int    `json:"fields"`   // how many criteria each rule has, according to the content's author
	Rules    []Rule `json:"rules"`

	// Digest addresses the bytes that were parsed: "sha256:" and 64 hexadecimal digits.
	Digest string `json:"-"`
}

// Rule is one detection: it fires when each of its criteria is met by the input at the same place.
type Rule struct {
	Name     string   `json:"name"`
	Criteria []string `json:"criteria"` // a literal, or [Wildcard]
}

// Load reads and parses the content file in dir. The error is fs.ErrNotExist if there is none.
func Load(dir string) (*Content, error) {
	file, err := os.Open(filepath.Join(dir, File))
	if err != nil {
		return nil, fmt.Errorf("load content: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("load content: %w", err)
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("load content %s: is larger than %d bytes", file.Name(), maxSize)
	}
	content, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("load content %s: %w", file.Name(), err)
	}
	return content, nil
}

// Parse reads content and holds it against its own definition only: it lists every rule that does not have as many
// criteria as the content itself says. It does not ask how many inputs the sensor has. That is the defect this
// example is about; the check belongs here, and [Validate] is only the second line.
func Parse(data []byte) (*Content, error) {
	var content Content
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&content); err != nil {
		return nil, fmt.Errorf("parse content: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("parse content: there is more after the first document")
	}
	if err := content.check(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	content.Digest = "sha256:" + hex.EncodeToString(sum[:])
	return &content, nil
}

func (c *Content) check() error {
	var mistakes []error
	if c.Template != "ipc" {
		mistakes = append(mistakes, fmt.Errorf("template: must be %q, is %q", "ipc", c.Template))
	}
	if len(c.Rules) == 0 {
		mistakes = append(mistakes, errors.New("rules: there are none"))
	}
	names := map[string]bool{}
	for i, rule := range c.Rules {
		if rule.Name == "" || names[rule.Name] {
			mistakes = append(mistakes, fmt.Errorf("rules[%d].name: must be unique and not empty, is %q", i, rule.Name))
		}
		names[rule.Name] = true
		if len(rule.Criteria) != c.Fields {
			mistakes = append(mistakes, fmt.Errorf("rules[%d].criteria: the content's definition says %d fields, there are %d",
				i, c.Fields, len(rule.Criteria)))
		}
	}
	return errors.Join(mistakes...)
}
