package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
)

// HasBlob tells whether the control plane has the bytes with that digest. It keeps what it has for days after it was asked: long enough
// to publish a release of it.
func (c *Client) HasBlob(ctx context.Context, digest string) (bool, error) {
	err := c.do(ctx, call{method: http.MethodHead, path: "/api/v1/blobs/" + segment(digest)}, nil)
	if err != nil && KindOf(err) == NotFound {
		return false, nil
	}
	return err == nil, err
}

// Blob opens the bytes with that digest, which the caller must check and close.
func (c *Client) Blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	answer, err := c.send(ctx, call{method: http.MethodGet, path: "/api/v1/blobs/" + segment(digest)}, nil, 0)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// CollectGarbage removes the blobs that nothing needs, or only tells which they are. It takes a while; if ctx ends it stops where it is.
func (c *Client) CollectGarbage(ctx context.Context, dry bool) (api.Garbage, error) {
	var g api.Garbage
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/gc", send: api.CollectGarbage{DryRun: dry}}, &g)
	return g, err
}

// pieceSize is what is sent at a time of a blob that is larger. It is kept in memory until the control plane has it.
const pieceSize = 8 << 20

// UploadBlob sends size bytes of r, which must have that digest. Progress, if not nil, is called with the bytes sent so far; it may be
// called from another goroutine, but never twice at once, and it never goes back.
//
// Of more than 8 MiB nothing is sent twice that arrived: a broken connection costs a part of the last 8 MiB, and an upload that was begun
// before, by another process too, goes on where it stands. A small one is never sent twice: ask [Client.HasBlob] first.
func (c *Client) UploadBlob(ctx context.Context, digest string, size int64, r io.Reader, progress func(sent int64)) error {
	if size <= pieceSize {
		return c.uploadWhole(ctx, digest, size, r, progress)
	}
	u := &uploading{client: c, digest: digest, size: size, from: r, tell: progress}
	err := u.begin(ctx)
	if err != nil && (KindOf(err) == NotFound || statusOf(err) == http.StatusMethodNotAllowed) {
		return c.uploadWhole(ctx, digest, size, r, progress) // an older control plane
	}
	for err == nil && !u.at.Complete {
		err = u.next(ctx)
	}
	if err == nil {
		u.say(size)
	}
	return err
}

func (c *Client) uploadWhole(ctx context.Context, digest string, size int64, r io.Reader, progress func(sent int64)) error {
	body := &counted{reader: io.LimitReader(r, size), tell: progress}
	answer, err := c.send(ctx, call{method: http.MethodPut, path: "/api/v1/blobs/" + segment(digest)}, body, size)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// uploading is one upload in pieces.
type uploading struct {
	client *Client
	digest string
	size   int64
	from   io.Reader
	tell   func(int64)

	at    api.Upload // as the control plane said last
	base  int64      // where piece begins
	piece []byte     // what was read last. It is never written to again: a request that was given up may still be reading it

	mu   sync.Mutex
	said int64
}

// begin begins the upload, or finds it again.
func (u *uploading) begin(ctx context.Context) error {
	wanted := api.NewUpload{Digest: u.digest, Size: u.size}
	var at api.Upload
	err := u.client.do(ctx, call{method: http.MethodPost, path: "/api/v1/uploads", send: wanted}, &at)
	if err == nil {
		u.at = at
	}
	return err
}

// patience is how many attempts an upload makes without progress, beyond those of a read: a control plane may be starting again.
const patience = 5

// next sends the next piece until the control plane has something of it.
func (u *uploading) next(ctx context.Context) error {
	before := u.at.Offset
	for attempt, wait := 1, firstWait; ; attempt, wait = attempt+1, 2*wait {
		if err := u.fill(); err != nil {
			return err
		}
		err := u.send(ctx)
		if err == nil || !again(err) || ctx.Err() != nil {
			return err
		}
		if pause(ctx, min(wait, 5*time.Second)) != nil {
			return err
		}
		lost := u.begin(ctx) // which tells where it stands, or that somebody else finished it
		if lost == nil && (u.at.Complete || u.at.Offset > before) {
			return nil
		}
		if attempt >= u.client.Attempts+patience {
			return err
		}
	}
}

// again tells whether an error is one that asking for the offset may mend.
func again(err error) bool {
	switch KindOf(err) {
	case Unavailable, Conflict, NotFound:
		return true
	case Invalid, Denied, Internal:
	}
	return false
}

// fill makes sure that the piece is what comes next. A reader that can seek may have to go back; of any other the last piece is kept.
func (u *uploading) fill() error {
	offset, read := u.at.Offset, u.base+int64(len(u.piece))
	if offset < u.base {
		seeker, ok := u.from.(io.Seeker)
		if !ok {
			return &Error{
				Kind: Unavailable, Message: fmt.Sprintf("upload %s: the control plane lost what it had", u.digest), Next: "Start it again.",
			}
		}
		if _, err := seeker.Seek(offset-read, io.SeekCurrent); err != nil {
			return fmt.Errorf("read what is uploaded: %w", err)
		}
		u.base, u.piece, read = offset, nil, offset
	}
	if offset > read {
		if _, err := io.CopyN(io.Discard, u.from, offset-read); err != nil {
			return ended(err)
		}
		u.piece = nil
	} else {
		u.piece = u.piece[offset-u.base:]
	}
	u.base = offset
	size := min(pieceSize, u.size-offset)
	if int64(len(u.piece)) == size {
		return nil
	}
	piece := make([]byte, size)
	if _, err := io.ReadFull(u.from, piece[copy(piece, u.piece):]); err != nil {
		return ended(err)
	}
	u.piece = piece
	return nil
}

// ended is the error of a reader that has less than was promised, or that failed.
func ended(err error) error {
	return &Error{Kind: Invalid, Message: "read what is uploaded", Err: err}
}

// send sends the piece.
func (u *uploading) send(ctx context.Context) error {
	data := u.piece
	k := call{
		method: http.MethodPatch, path: "/api/v1/uploads/" + segment(u.at.ID),
		header: http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", u.base, u.base+int64(len(data))-1, u.size)}},
	}
	body := &counted{reader: bytes.NewReader(data), tell: func(n int64) { u.say(u.base + n) }}
	var at api.Upload
	if err := u.client.exchange(ctx, k, body, int64(len(data)), &at); err != nil {
		return err
	}
	u.at = at
	return nil
}

// say tells progress, but never that it went back.
func (u *uploading) say(sent int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tell != nil && sent > u.said {
		u.said = sent
		u.tell(sent)
	}
}

// counted tells how much was read.
type counted struct {
	reader io.Reader
	tell   func(int64)
	sent   int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	c.sent += int64(n)
	if n > 0 && c.tell != nil {
		c.tell(c.sent)
	}
	return n, err
}
