package postmortem

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of texts, in characters. A reason has enough of them; a megabyte is no reason.
const (
	mostText      = 500    // that hosts or people wrote
	mostParagraph = 20_000 // made here of several of those
)

// clean is a text of others as one line of characters that show. What orders text about or hides is named instead, so that it is seen and
// does nothing.
func clean(text string) string { return line(text, mostText) }

// line is clean with a bound. A text that is such a line already stays as it is.
func line(text string, most int) string {
	var b strings.Builder
	kept, blank := 0, false
	for i, r := range text {
		if kept >= most {
			fmt.Fprintf(&b, " … (cut; %d bytes in all)", len(text))
			break
		}
		switch {
		case unicode.IsSpace(r):
			blank = kept > 0
			continue
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			r = unicode.ReplacementChar
		}
		if blank {
			b.WriteByte(' ')
			kept++
		}
		blank = false
		kept++
		if !unicode.IsGraphic(r) {
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// special are the characters that mean something to a Markdown reader in the middle of a line, in any of the usual dialects.
const special = "\\`*_[]{}<>|&~$#@="

// escape is a text in which nothing means anything to a Markdown reader. It stays on one line; callers never begin a line with it, where
// more characters would have a meaning.
func escape(text string) string {
	var b strings.Builder
	for _, r := range line(text, mostParagraph) {
		if strings.ContainsRune(special, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return strings.NewReplacer("://", `\://`, "www.", `www\.`, "WWW.", `WWW\.`).Replace(b.String()) // or readers make links of them
}

// thousands writes a count with commas.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// hosts is a count of them.
func hosts(n int64) string {
	if n == 1 {
		return "1 host"
	}
	return thousands(n) + " hosts"
}

// were is the verb for so many.
func were(n int64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// have is the verb for so many.
func have(n int64) string {
	if n == 1 {
		return "has"
	}
	return "have"
}

// figure writes E: a few digits are all that anybody acts on.
func figure(e float64) string {
	if e >= 1000 && e < 1e12 {
		return thousands(int64(e))
	}
	return strconv.FormatFloat(e, 'g', 3, 64)
}

const stampFormat = "2006-01-02 15:04:05 UTC"

func stamp(t time.Time) string { return t.UTC().Format(stampFormat) }

// span writes a duration with one unit or two.
func span(d time.Duration) string {
	if d < 0 {
		return "0 s"
	}
	d = d.Round(time.Second)
	two := func(n int, unit string, rest int, small string) string {
		if rest == 0 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		return fmt.Sprintf("%d %s %d %s", n, unit, rest, small)
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return two(int(d.Minutes()), "min", int(d.Seconds())%60, "s")
	case d < 48*time.Hour:
		return two(int(d.Hours()), "h", int(d.Minutes())%60, "min")
	}
	return two(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
}
