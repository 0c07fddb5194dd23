package consumer

import (
	"strings"
	"testing"
)

// goCrash is how a program of Go dies on one host or another.
func goCrash(port, index, home, pid string) string {
	return "listening on " + port + "\nmatched 17 events\npanic: runtime error: index out of range [" + index + "] with length 20\n\n" +
		"goroutine " + pid + " [running]:\nmain.match(0xc000" + pid + ", {0x0, 0x0})\n\t" + home + "/sensor/match.go:41 +0x1d\n" +
		"main.main()\n\t" + home + "/sensor/main.go:12 +0x5c\n"
}

func pythonCrash(home, field, underlined string) string {
	return "INFO started\nTraceback (most recent call last):\n  File \"" + home + "/run.py\", line 3, in <module>\n    main()\n" + underlined +
		"  File \"" + home + "/lib/rules.py\", line 88, in load\n    return fields[" + field + "]\n" + underlined +
		"IndexError: list index out of range at " + field + "\n"
}

func assertion(binary, line, pid string) string {
	return binary + "[" + pid + "]: starting\n" + binary + ": /build/src/rules.c:" + line + ": load: Assertion `n < 20' failed.\n"
}

// What the same crash says on two hosts has one signature, and another crash has another.
func TestSignatures(t *testing.T) {
	t.Parallel()
	const uuid, other = "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "00112233-4455-6677-8899-aabbccddeeff"
	for name, c := range map[string]struct {
		how         string
		here, there string
		headline    string
	}{
		"go": {
			"status 2", goCrash("127.0.0.1:4001", "20", "/home/a/src", "1"), goCrash("[::1]:9", "21", "/build/x86_64", "18"),
			"panic: runtime error: index out of range [20] with length 20",
		},
		"go, inlined and trimmed": {
			"status 2", "panic: x\n\ngoroutine 1 [running]:\nmain.f(...)\n\texample.com/m/f.go:1\n",
			"panic: x\n\ngoroutine 7 [running]:\nmain.f(0xc00012)\n\t/home/me/m/f.go:1\n", "panic: x",
		},
		"python": {
			"status 1", pythonCrash("/usr/lib", "20", ""), pythonCrash("/opt/venv/lib", "21", "    ~~~~~~^^^^\n"),
			"IndexError: list index out of range at 20",
		},
		"python, an error in an error": {
			"status 1", pythonCrash("/a", "1", "") + "\nDuring handling of the above exception, another exception occurred:\n\n" + pythonCrash("/a", "2", ""),
			pythonCrash("/b", "2", ""), "IndexError: list index out of range at 2",
		},
		"c++": {
			"signal ABRT", "terminate called after throwing an instance of 'std::out_of_range'\n  what():  at 0x7ffe12 (which is 20) >= 20\n",
			"terminate called after throwing an instance of 'std::out_of_range'\n  what():  at 0x7ff1 (which is 21) >= 20\n",
			"terminate called after throwing an instance of 'std::out_of_range' what():  at 0x7ffe12 (which is 20) >= 20",
		},
		"an assertion": {
			"signal ABRT", assertion("/usr/bin/sensor", "41", "12"), assertion("/opt/sensor/bin/sensor", "41", "31337"),
			"/usr/bin/sensor: /build/src/rules.c:41: load: Assertion `n < 20' failed.",
		},
		"glibc": {
			"signal ABRT", "working\ndouble free or corruption (out)\n", "working hard\ndouble free or corruption (out)\n",
			"double free or corruption (out)",
		},
		"a plain message": {
			"status 1", "cannot open /etc/a/rules.db for " + uuid + ": digest deadbeef00112233 is wrong",
			"cannot open /srv/b/rules.db for " + other + ": digest 00deadbeefcafe11 is wrong",
			"cannot open /etc/a/rules.db for " + uuid + ": digest deadbeef00112233 is wrong",
		},
	} {
		here, there := signature(c.how, c.here), signature(c.how, c.there)
		if here != there || len(here) != 12 {
			t.Errorf("%s: got %s and %s, want one signature", name, here, there)
		}
		if got := headline(c.here); got != c.headline {
			t.Errorf("%s: got headline %q, want %q", name, got, c.headline)
		}
		for _, another := range []string{signature("signal SEGV", c.here), signature(c.how, "panic: out of memory\n"), signature(c.how, "")} {
			if another == here {
				t.Errorf("%s: another crash has the signature %s too", name, here)
			}
		}
	}
}

func TestSignatureWithoutAReportTakesTheLastLines(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("working\n", 100)
	a, b := signature("status 1", many+"cannot open socket 3"), signature("status 1", many+many+"\ncannot open socket 4\n\n")
	if a != b {
		t.Errorf("got %s and %s, want equal", a, b)
	}
}

// A supervisor and systemd describe the same end in the same way, whatever each calls it.
func TestDescribe(t *testing.T) {
	t.Parallel()
	one, other := Describe(-1, "SEGV", "signal: segmentation fault (core dumped)", "x"), Describe(11, "SEGV", "core-dump: dumped SEGV", "x")
	if one.Signature != other.Signature || one.Status != -1 || other.Status != -1 {
		t.Errorf("got %+v and %+v, want one signature and no status", one, other)
	}
	if long := Describe(1, "", "m", strings.Repeat("é", 1000)); len(long.Headline) != maxHeadline {
		t.Errorf("got a headline of %d bytes, want %d", len(long.Headline), maxHeadline)
	}
}
