package evidence

import (
	"fmt"
	"time"
)

// Duration is a time.Duration that is written as people write it: "15m", "72h", "1.5s".
type Duration time.Duration

// String formats d like time.Duration.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it as 30s, 15m or 72h", text)
	}
	*d = Duration(v)
	return nil
}
