package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) { //nolint:tparallel // each line goes on from the one before
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "guard")
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "var/lib/firebreak-guard"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"", 0, "brings a host back"},
		{"--help", 0, "rehearse"},
		{"version", 0, "devel"},
		{"fly", 2, `there is no command "fly"`},
		{"boot --help", 0, "It always exits with 0"},
		{"bless --help", 0, "-wait"},
		{"deadline --help", 0, "less than 4 times"},
		{"launch --help", 0, "AGENT'S ARGUMENTS"},
		{"status --nonsense", 2, "not defined"},
		{"status word", 2, `"word" is a word too many`},
		{"status --dir " + dir, 1, "next: install the package"},
		{"planned --dir " + dir, 0, ""},
		{"status --dir " + dir, 0, "the next one is planned"},
		{"status --json --dir " + dir, 0, `"planned": true`},
		{"rehearse --dir " + dir, 0, "ok    a scratch component goes back"},
		{"rescue", 2, "--root is needed"},
		{"rescue --level 4 --root " + root, 2, "--level is 1, 2 or 3"},
		{"rescue --root " + root, 0, "nothing was changed"},
		{"rescue --root " + dir, 1, "mount the root file system"},
		{"boot --log nowhere --stage 2 --dir " + dir, 0, "boot 0 since one was blessed"}, // it was planned
		{"boot --log nowhere --stage 1 --root " + root, 0, "boot 1 since one was blessed"},
		{"boot --log nowhere --dir " + dir + "x --stage x", 0, "nothing to guard"},
		{"boot --log nowhere --dir " + dir + " --such-a-flag", 0, "stage 2"},
		{"boot --log nowhere --dir " + dir + " a word too many", 0, "stage 2"},
	} {
		t.Run(test.args, func(t *testing.T) {
			var out strings.Builder
			code := run(t.Context(), strings.Fields(test.args), &out, &out)
			if code != test.code || !strings.Contains(out.String(), test.want) {
				t.Errorf("got exit code %d, want %d and %q in\n%s", code, test.code, test.want, out.String())
			}
		})
	}
}
