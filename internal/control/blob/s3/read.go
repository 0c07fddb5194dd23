package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/firebreak-dev/firebreak/internal/control/blob"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Open reads a blob and tells its size. The caller closes it. The first bytes come with this request, and they are all of a small blob;
// of a large one the rest is asked for as it is read, in ranges: a read of it fails if the blob is removed meanwhile.
func (s *Store) Open(ctx context.Context, d release.Digest) (io.ReadSeekCloser, int64, error) {
	what := "open blob " + string(d)
	if err := blob.Check(d); err != nil {
		return nil, 0, s.failed(what, err)
	}
	o := &object{ctx: ctx, store: s, digest: d}
	body, size, err := s.slice(ctx, d, 0, head)
	if err != nil {
		return nil, 0, s.failed(what, err)
	}
	defer body.Close()
	if o.size = size; size > 0 {
		if o.begin, err = io.ReadAll(io.LimitReader(body, head)); err == nil && int64(len(o.begin)) < min(size, head) {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		return nil, 0, s.failed(what, err)
	}
	return o, size, nil
}

// slice asks for n bytes from an offset, and tells the size of the whole. Of nothing there is no range.
func (s *Store) slice(ctx context.Context, d release.Digest, from, n int64) (io.ReadCloser, int64, error) {
	asked := fmt.Sprintf("bytes=%d-%d", from, from+n-1)
	answer, err := s.api.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: s.key(d), Range: &asked})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "InvalidRange" && from == 0 {
		return io.NopCloser(bytes.NewReader(nil)), 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	size, ok := total(aws.ToString(answer.ContentRange), from)
	if !ok && from == 0 && aws.ToString(answer.ContentRange) == "" { // the store sent all of it, as it may
		return answer.Body, aws.ToInt64(answer.ContentLength), nil
	}
	if !ok {
		_ = answer.Body.Close() // it is not what was asked for
		return nil, 0, fault.New(fault.Unavailable, "%s answered with another range than was asked for", s.where)
	}
	return answer.Body, size, nil
}

// total reads the size of the whole from "bytes 0-99/200", if the range begins where it was asked to.
func total(contentRange string, from int64) (int64, bool) {
	span, ok := strings.CutPrefix(contentRange, "bytes ")
	if !ok {
		return 0, false
	}
	span, whole, ok := strings.Cut(span, "/")
	first, _, dash := strings.Cut(span, "-")
	begin, errBegin := strconv.ParseInt(first, 10, 64)
	size, errSize := strconv.ParseInt(whole, 10, 64)
	return size, ok && dash && errBegin == nil && errSize == nil && begin == from && size > from
}

// object reads an object from wherever it is told, and asks for no more than it needs.
type object struct {
	ctx    context.Context //nolint:containedctx // an io.Reader has no other way to get it; it lives as long as one Open
	store  *Store
	digest release.Digest
	size   int64
	begin  []byte // the first bytes

	at   int64         // where the next Read begins
	body io.ReadCloser // bytes from at on; nil if none are asked for
	end  int64         // of body
}

// Read implements [io.Reader].
func (o *object) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case o.at >= o.size:
		return 0, io.EOF
	case o.at < int64(len(o.begin)):
		n := copy(p, o.begin[o.at:])
		o.at += int64(n)
		return n, nil
	}
	if err := o.ask(); err != nil {
		return 0, o.store.failed("read blob "+string(o.digest), err)
	}
	n, err := o.body.Read(p[:min(int64(len(p)), o.end-o.at)])
	o.at += int64(n)
	if o.at == o.end {
		o.drop()
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		o.drop()
		err = o.store.failed("read blob "+string(o.digest), err)
	}
	return n, err
}

// ask makes sure that there is a body.
func (o *object) ask() error {
	if o.body != nil {
		return nil
	}
	n := min(window, o.size-o.at)
	body, size, err := o.store.slice(o.ctx, o.digest, o.at, n)
	if err != nil {
		return err
	}
	if size != o.size {
		_ = body.Close() // it is not what was opened
		return fault.New(fault.Unavailable, "it has %d bytes now, not %d", size, o.size)
	}
	o.body, o.end = body, o.at+n
	return nil
}

func (o *object) drop() {
	if o.body != nil {
		_ = o.body.Close() // it was only read
		o.body = nil
	}
}

// Seek implements [io.Seeker]. It asks for nothing.
func (o *object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += o.at
	case io.SeekEnd:
		offset += o.size
	}
	if offset < 0 {
		return 0, fault.New(fault.Invalid, "read blob %s: %d is before its beginning", o.digest, offset)
	}
	if offset != o.at {
		o.drop()
	}
	o.at = offset
	return offset, nil
}

// Close implements [io.Closer].
func (o *object) Close() error {
	o.drop()
	return nil
}
