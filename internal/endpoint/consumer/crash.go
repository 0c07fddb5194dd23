package consumer

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// exitOf describes the end of a process that started.
func exitOf(state *os.ProcessState, tail string) Exit {
	return Exit{
		Status: state.ExitCode(), Signal: process.SignalOf(state), Message: state.String(),
		Signature: signature(state.String(), tail), Headline: headline(tail), Tail: tail,
	}
}

// signatureLines is how much of a crash report makes its signature: the message and the topmost frames.
const signatureLines = 8

var (
	addresses = regexp.MustCompile(`0[xX][0-9a-fA-F]+`)
	folders   = regexp.MustCompile(`(?:[A-Za-z]:)?(?:[/\\][^/\\\s:"']+)+[/\\]`)
	numbers   = regexp.MustCompile(`[0-9]+`)
)

// signature is a short hash of how a process ended and of what it said, without what differs from host to host and from run to run:
// addresses, numbers, directories.
func signature(how, tail string) string {
	text := strings.Join(append([]string{how}, telling(tail)...), "\n")
	text = addresses.ReplaceAllString(text, "0x")
	text = folders.ReplaceAllString(text, "/")
	text = numbers.ReplaceAllString(text, "#")
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:12]
}

// headline is the one line of a crash report that says most.
func headline(tail string) string {
	lines := telling(tail)
	if len(lines) == 0 {
		return "it said nothing"
	}
	if !begins(lines[0]) {
		return strings.TrimSpace(lines[len(lines)-1])
	}
	return strings.TrimSpace(lines[0])
}

// begins tells whether a runtime's crash report begins with the line.
func begins(line string) bool {
	for _, mark := range []string{"panic:", "fatal error:", "Traceback (most recent call last)", "thread '", "terminate called", "Assertion "} {
		if strings.HasPrefix(line, mark) {
			return true
		}
	}
	return false
}

// telling picks the lines that tell crashes apart: those from where a runtime begins its report, or else the last ones.
func telling(tail string) []string {
	lines := slices.DeleteFunc(strings.Split(tail, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	if i := slices.IndexFunc(lines, begins); i >= 0 {
		return lines[i:min(len(lines), i+signatureLines)]
	}
	return lines[max(0, len(lines)-signatureLines):]
}
