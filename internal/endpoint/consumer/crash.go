package consumer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// exitOf describes the end of a process that started.
func exitOf(state *os.ProcessState, tail string) Exit {
	return Describe(state.ExitCode(), process.SignalOf(state), state.String(), tail)
}

// Describe describes the end of a process by its exit status, or the signal that ended it, and the last that it said. The message is for
// people.
func Describe(status int, signal, message, tail string) Exit {
	how := "status " + strconv.Itoa(status)
	if signal != "" {
		status, how = -1, "signal "+signal
	}
	return Exit{Status: status, Signal: signal, Message: message, Signature: signature(how, tail), Headline: headline(tail), Tail: tail}
}

// unstarted describes a process that could not be started: its program is not there, or not for this machine.
func unstarted(err error) Exit {
	if path, ok := errors.AsType[*fs.PathError](err); ok { // the path is the host's, what is wrong with it is the release's
		err = path.Err
	}
	const how = "did not start"
	return Exit{Status: -1, Message: how + ": " + err.Error(), Signature: signature(how, err.Error()), Headline: headline(err.Error())}
}

// signatureLines is how much of a crash report makes its signature: the message and the topmost frames.
const signatureLines = 8

var (
	arguments = regexp.MustCompile(`\([^()]*(?:0x|\.\.\.|\{)[^()]*\)$`) // of a frame of Go: main.match(0xc000012345, {0x0, 0x0})
	uuids     = regexp.MustCompile(`[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`)
	addresses = regexp.MustCompile(`0[xX][0-9a-fA-F]+`)
	hashes    = regexp.MustCompile(`\b[0-9a-fA-F]{12,}\b`)
	folders   = regexp.MustCompile(`(?:[A-Za-z]:)?(?:[/\\][^/\\\s:"']+)+[/\\]`)
	relative  = regexp.MustCompile(`(?:[\w.-]+/)+`)
	numbers   = regexp.MustCompile(`[0-9]+`)
	spaces    = regexp.MustCompile(`\s+`)
)

// signature is a short hash of how a process ended and of what it said, without what differs from host to host and from run to run:
// addresses, numbers, identifiers, directories, arguments. Equal crashes of one build have equal signatures on all hosts.
func signature(how, tail string) string {
	lines := []string{how}
	said, _ := telling(tail)
	for _, line := range said {
		lines = append(lines, normal(line))
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])[:12]
}

func normal(line string) string {
	line = strings.TrimSpace(line)
	line = arguments.ReplaceAllString(line, "()")
	line = uuids.ReplaceAllString(line, "#")
	line = addresses.ReplaceAllString(line, "#")
	line = hashes.ReplaceAllStringFunc(line, func(word string) string {
		if strings.ContainsAny(word, "0123456789") {
			return "#"
		}
		return word
	})
	line = folders.ReplaceAllString(line, "/")
	line = relative.ReplaceAllString(line, "/")
	line = numbers.ReplaceAllString(line, "#")
	return spaces.ReplaceAllString(line, " ")
}

// maxHeadline bounds a headline, in bytes: it travels in every report of a crash.
const maxHeadline = 200

// headline is the one line of a crash report that says most.
func headline(tail string) string {
	lines, reported := telling(tail)
	if len(lines) == 0 {
		return "it said nothing"
	}
	line := lines[len(lines)-1]
	if reported {
		line = lines[0]
	}
	line = strings.TrimSpace(line)
	if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), "what():") }); i > 0 {
		line += " " + strings.TrimSpace(lines[i]) // of C++: the first line has only the type
	}
	return strings.ToValidUTF8(line[:min(len(line), maxHeadline)], "")
}

// python is where a report of Python begins. Unlike others it has its message at its end.
const python = "Traceback (most recent call last)"

// begins tells whether a runtime's crash report begins with the line.
func begins(line string) bool {
	for _, mark := range []string{
		"panic:", "fatal error:", "SIGABRT:", "SIGBUS:", "SIGQUIT:", "SIGSEGV:", // Go
		"thread '",                          // Rust
		"terminate called",                  // C++
		"*** stack smashing", "*** buffer ", // glibc
		"malloc():", "free():", "realloc():", "double free", "munmap_chunk():", "corrupted size", "corrupted double", "Fatal glibc error",
		"Exception in thread", "Unhandled exception", "Uncaught ", // Java, .NET, Node
		"Assertion ",
	} {
		if strings.HasPrefix(line, mark) {
			return true
		}
	}
	return strings.Contains(line, ": Assertion `")
}

// telling picks the lines that tell crashes apart: the message and the topmost frames of what a runtime reported, or else the last lines.
func telling(tail string) (lines []string, reported bool) {
	lines = slices.DeleteFunc(strings.Split(tail, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	for i, line := range slices.Backward(lines) {
		if strings.HasPrefix(line, python) {
			return pythonic(lines[i+1:]), true
		}
	}
	if i := slices.IndexFunc(lines, begins); i >= 0 {
		return lines[i:min(len(lines), i+signatureLines)], true
	}
	return lines[max(0, len(lines)-signatureLines):], false
}

// pythonic turns a traceback into a message and its topmost frames, without the source text between them, which some versions underline.
func pythonic(lines []string) []string {
	var frames []string
	for _, line := range lines {
		switch {
		case strings.HasPrefix(line, "  File "):
			frames = append(frames, line)
		case strings.HasPrefix(line, " "):
		default:
			frames = append(frames, line)
			slices.Reverse(frames)
			return frames[:min(len(frames), signatureLines)]
		}
	}
	return frames[max(0, len(frames)-signatureLines):]
}
