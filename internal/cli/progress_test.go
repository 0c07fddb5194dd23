package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

// heardOn is a program whose stderr is kept, on a terminal of 60 columns or on none.
func heardOn(terminal bool) (p *program, at *clock.Fixed, errs, out *bytes.Buffer) {
	at, errs, out = clock.At(servertest.Start()), &bytes.Buffer{}, &bytes.Buffer{}
	return &program{Env: Env{Out: out, Err: errs, Clock: at, Terminal: func(io.Writer) (int, bool) { return 60, terminal }}}, at, errs, out
}

// work does 40 seconds of it at 1.5 MB a second.
func work(at *clock.Fixed, tell func(done, total int64)) {
	const total = 60_000_000
	for done := int64(0); done < total; done += 1_500_000 {
		tell(done, total)
		at.Move(time.Second)
	}
	tell(total, total)
}

func TestProgressIsALineNowAndThenElsewhere(t *testing.T) {
	t.Parallel()
	p, at, errs, out := heardOn(false)
	tell := p.transfers("uploading")
	work(at, func(done, total int64) { tell("rules.tar", done, total) })
	want := "uploading rules.tar: 15 MB of 60 MB, 1.5 MB/s, 30s left\n" +
		"uploading rules.tar: 30 MB of 60 MB, 1.5 MB/s, 20s left\n" +
		"uploading rules.tar: 45 MB of 60 MB, 1.5 MB/s, 10s left\n" +
		"uploading rules.tar: 60 MB of 60 MB, 1.5 MB/s, 0s left\n"
	if got := errs.String(); got != want || out.Len() > 0 {
		t.Errorf("got %q and %q on stdout, want %q: a line each ten seconds, and not on stdout", got, out, want)
	}
}

func TestProgressIsRedrawnOnATerminalAndGoneInTheEnd(t *testing.T) {
	t.Parallel()
	p, at, errs, out := heardOn(true)
	begin, tell := p.stages()
	begin("packing the artifacts")
	work(at, tell)
	begin("reading it again")
	frames := strings.Split(errs.String(), "\r\x1b[K")
	if got, want := frames[21], "packing the artif… ██████████░░░░░░░░░░ 30 MB of 60 MB, 1.5…"; got != want && !strings.Contains(got, "██████████░░░░░░░░░░ 30 MB of 60 MB, 1.5 MB/s") {
		t.Errorf("halfway: got %q, want %q", got, want)
	}
	for _, frame := range frames[1:] {
		if wide(strings.TrimSuffix(frame, "reading it again ...\n")) > 59 {
			t.Errorf("a line does not fit: %q", frame)
		}
	}
	if end := frames[len(frames)-1]; end != "reading it again ...\n" || out.Len() > 0 {
		t.Errorf("got %q at last and %q on stdout, want the line gone", end, out)
	}
}

func TestProgressIsForThoseWhoWantIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		terminal, json, quiet, want bool
	}{
		"a pipe": {want: true}, "a pipe, quiet": {quiet: true}, "a pipe, JSON": {json: true}, "a terminal": {terminal: true, want: true},
		"a terminal, quiet": {terminal: true, quiet: true}, "a terminal, JSON": {terminal: true, json: true, want: true},
	} {
		p, at, errs, _ := heardOn(c.terminal)
		p.json, p.quiet = c.json, c.quiet
		b := p.progressOf("copying", 100, inRows())
		at.Move(time.Minute)
		b.at(50)
		b.then("")
		b.end()
		if got := errs.Len() > 0; got != c.want {
			t.Errorf("%s: told %t, want %t: %q", name, got, c.want, errs)
		}
	}
}

func TestSizesAndPacesAreReadable(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1500: "1.5 kB", 12_345_678: "12.3 MB", 250_000_000: "250 MB", 3e15: "3000 TB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d): got %s, want %s", n, got, want)
		}
	}
	rows := inRows()
	if got := rows.amount(1200, 40000) + ", " + rows.pace(1200, 2*time.Second); got != "1,200 of 40,000 rows, 600/s" {
		t.Error(got)
	}
}

// What is missing is said once: in the sentence about waiting, or under it.
func TestMissingEvidenceIsSaidOnce(t *testing.T) {
	t.Parallel()
	r := moving("ro-aaaaaaaaaa", "rules", nil)
	for width, want := range map[int]string{80: "still missing: boots 4 of 12", 40: "still missing: boots 4 of 12"} {
		text := strings.Join(frame(r, night(), palette{}, width), "\n")
		if !strings.Contains(text, want) || strings.Count(text, "bake") != 1 {
			t.Errorf("got %s, want %q and the bake once", text, want)
		}
	}
	r.Missing = []api.Lack{{Name: "bake", Have: "20s", Need: "10m0s"}}
	if text := strings.Join(frame(r, night(), palette{}, 80), "\n"); strings.Contains(text, "still missing") {
		t.Errorf("got %s, want it said once", text)
	}
}
