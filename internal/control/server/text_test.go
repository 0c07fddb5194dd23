package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

// What operators write for others to read is shown in terminals and kept in databases, not all of which can keep a NUL.
func TestControlCharactersAreRefusedInWhatOperatorsWrite(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	for name, c := range map[string]struct{ path, body, at string }{
		"start":    {"/api/v1/rollouts", `{"component":"c","version":"1","reason":"TEXT"}`, `"reason"`},
		"halt":     {"/api/v1/rollouts/ro-1/halt", `{"reason":"TEXT"}`, `"reason"`},
		"rollback": {"/api/v1/rollouts/ro-1/rollback", `{"reason":"TEXT"}`, `"reason"`},
		"hold":     {"/api/v1/rollouts/ro-1/hold", `{"reason":"TEXT","select":{"os":["linux"]}}`, `"reason"`},
		"halts":    {"/api/v1/halt", `{"rollouts":["ro-1"],"reason":"TEXT"}`, `"reason"`},
		"close":    {"/api/v1/incidents/inc-1/close", `{"note":"TEXT"}`, `"note"`},
		"token":    {"/api/v1/tokens", `{"kind":"join","tenant":"acme","note":"TEXT"}`, `"note"`},
		"revoke":   {"/api/v1/endpoints/ep-1/revoke", `{"reason":"TEXT"}`, `"reason"`},
	} {
		for _, odd := range []string{`a\u0000b`, `\u001b[2J`, `a\rb`, `\u007f`, `\u009b`} {
			answer, text := w.Do("POST", c.path, strings.ReplaceAll(c.body, "TEXT", odd))
			if answer.StatusCode != http.StatusBadRequest || !strings.Contains(text, c.at) || !strings.Contains(text, "control character U+00") {
				t.Errorf("%s with %s: got %d %s, want 400 that names %s", name, odd, answer.StatusCode, text, c.at)
			}
		}
		if _, text := w.Do("POST", c.path, strings.ReplaceAll(c.body, "TEXT", `line\n\tanother, é`)); strings.Contains(text, "control character") {
			t.Errorf("%s: got %s, want new lines and tabs to be let in", name, text)
		}
	}
}
