package consumer

import "testing"

func TestSignaturesOfEqualCrashesAreEqual(t *testing.T) {
	t.Parallel()
	crash := func(port, index, home, pid string) string {
		return "listening on " + port + "\nmatched 17 events\npanic: runtime error: index out of range [" + index + "] with length 20\n\n" +
			"goroutine " + pid + " [running]:\nmain.match(0xc000" + pid + ", {0x0, 0x0})\n\t" + home + "/sensor/match.go:41 +0x1d\n" +
			"main.main()\n\t" + home + "/sensor/main.go:12 +0x5c\n"
	}
	here := signature("exit status 2", crash("127.0.0.1:4001", "20", "/home/a/src", "1"))
	for name, other := range map[string]struct {
		how, tail string
		same      bool
	}{
		"another host":   {"exit status 2", crash("[::1]:9", "20", "/build/x86_64", "18"), true},
		"another status": {"signal: segmentation fault", crash("127.0.0.1:4001", "20", "/home/a/src", "1"), false},
		"another panic":  {"exit status 2", "panic: out of memory\n", false},
		"nothing said":   {"exit status 2", "", false},
	} {
		if got := signature(other.how, other.tail); (got == here) != other.same || len(got) != 12 {
			t.Errorf("%s: got %s beside %s, want equal: %v", name, got, here, other.same)
		}
	}
}

func TestSignatureWithoutAReportTakesTheLastLines(t *testing.T) {
	t.Parallel()
	many := ""
	for range 100 {
		many += "working\n"
	}
	a, b := signature("exit status 1", many+"cannot open socket 3"), signature("exit status 1", many+many+"\ncannot open socket 4\n\n")
	if a != b {
		t.Errorf("got %s and %s, want equal", a, b)
	}
}
