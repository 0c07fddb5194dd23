package upload

import (
	"strconv"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// ContentRange reads a header such as "bytes 0-99/200": the offset and the length of a piece, and the size of the whole. Only pieces
// of at least one byte that lie within the whole are accepted, and numbers in plain digits.
func ContentRange(header string) (offset, length, size int64, err error) {
	span, ok := strings.CutPrefix(header, "bytes ")
	span, whole, slash := strings.Cut(span, "/")
	first, last, dash := strings.Cut(span, "-")
	from, okFrom := number(first)
	to, okTo := number(last)
	size, okSize := number(whole)
	if !ok || !slash || !dash || !okFrom || !okTo || !okSize || from > to || to >= size {
		return 0, 0, 0, fault.New(fault.Invalid, "read Content-Range %.80q: it must be as in \"bytes 0-99/200\"", header)
	}
	return from, to - from + 1, size, nil
}

// number reads plain digits: no sign, no space.
func number(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
