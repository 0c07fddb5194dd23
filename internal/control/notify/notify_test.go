package notify_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/notify"
)

func TestLog(t *testing.T) {
	t.Parallel()
	for severity, level := range map[string]string{"page": "ERROR", "info": "INFO"} {
		var out bytes.Buffer
		notify.Log{Logger: slog.New(slog.NewTextHandler(&out, nil))}.Notify(t.Context(), severity, "v2 halted")
		want := "level=" + level + ` msg=notify severity=` + severity + ` text="v2 halted"`
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	}
}
