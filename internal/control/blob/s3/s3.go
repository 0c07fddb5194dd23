// Package s3 keeps blobs in a bucket of an S3-compatible object store, under the keys of an OCI image layout: oci-layout, index.json
// and blobs/sha256/<hex>, after a prefix if there is one.
//
// An object appears under its digest when it is complete and right, never before: a small one is verified before it is sent, a large
// one goes as a multipart upload that is completed only when the sum of what was sent is the digest. Any number of replicas may use the
// same prefix.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Sizes in bytes.
const (
	partSize = 8 << 20          // of a multipart upload, and of what is sent in one piece; S3 takes no smaller parts than 5 MiB
	maxParts = 10_000           // that S3 takes
	window   = 8 << 20          // that one request reads of a large object
	head     = 256 << 10        // that Open reads at once: a small blob costs one request
	maxIndex = int64(64 << 20)  // of index.json
	attempts = 3                // of a request, by the SDK
	patience = 30 * time.Second // for the first word of an answer
	giveUp   = 10 * time.Second // for tidying up after a failed upload
	fresh    = 10 * time.Minute // that a blob is not touched again: it costs a copy
)

// Options are what Open may be told beside the location. The zero value suits.
type Options struct {
	// Credentials sign the requests; nil looks where the AWS tools look: the environment, ~/.aws, the machine's role.
	Credentials aws.CredentialsProvider
	// Clock tells how old a blob is that is touched; nil means the machine's.
	Clock clock.Clock
}

// Store is a prefix of a bucket. All methods are safe for concurrent use.
type Store struct {
	api    *s3.Client
	bucket string
	prefix string
	where  string // for people: bucket, prefix and endpoint, without secrets
	clock  clock.Clock
}

// Open opens the store at a location such as s3://bucket/prefix?endpoint=https://s3.example.net&region=eu-1&path_style=true, and looks
// whether it can be used. Without endpoint it is Amazon's; with one, path_style is true unless it is said to be false. What is wrong
// with the location is a fault.Invalid, keys that the store does not take are a fault.Denied, a bucket that is not there is a
// fault.NotFound, and a store that does not answer is a fault.Unavailable.
func Open(ctx context.Context, location string, o Options) (*Store, error) {
	place, err := parse(location)
	if err != nil {
		return nil, err
	}
	load := []func(*config.LoadOptions) error{config.WithHTTPClient(impatient()), config.WithRetryMaxAttempts(attempts)}
	if place.region != "" {
		load = append(load, config.WithRegion(place.region))
	}
	if o.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(o.Credentials))
	}
	loaded, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "open blob store %s: read the configuration of the AWS tools: %w", place, err)
	}
	if loaded.Region == "" {
		loaded.Region = "us-east-1" // stores that have no regions sign for this one
	}
	s := &Store{bucket: place.bucket, prefix: place.prefix, where: place.String(), clock: o.Clock}
	if s.clock == nil {
		s.clock = clock.Wall{}
	}
	s.api = s3.NewFromConfig(loaded, func(so *s3.Options) {
		// Only Amazon knows the newer checksums. Ours is the digest, and it is always compared.
		so.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		so.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		so.UsePathStyle = place.pathStyle
		if place.endpoint != "" {
			so.BaseEndpoint = &place.endpoint
		}
	})
	return s, s.unopened(s.layOut(ctx))
}

// Check tells what is wrong with a location, without asking anybody: a fault.Invalid.
func Check(location string) error {
	_, err := parse(location)
	return err
}

// unopened is failed for Open: there a refusal is the mistake of whoever set it up, and waiting does not mend it. Later keys may be changing.
func (s *Store) unopened(err error) error {
	failed := s.failed("open blob store "+s.where, err)
	var api smithy.APIError
	coded := errors.As(err, &api)
	switch {
	case err == nil:
		return nil
	case coded && refusing(api.ErrorCode()), !coded && noCredentials(err):
		return fault.New(fault.Denied, "%w", failed)
	case coded && api.ErrorCode() == "NoSuchBucket":
		return fault.New(fault.NotFound, "%w", failed)
	}
	return failed
}

// impatient is the SDK's client, but gives up on a store that says nothing.
func impatient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = 64, patience
	})
}

// place is a parsed location.
type place struct {
	bucket, prefix, endpoint, region string
	pathStyle                        bool
}

func (p place) String() string {
	where := "s3://" + path.Join(p.bucket, p.prefix)
	if p.endpoint != "" {
		where += " at " + p.endpoint
	}
	return where
}

// parse reads a location. The location is never part of an error: somebody may have put a secret into it.
func parse(location string) (place, error) {
	var problems []fault.Problem
	require := func(ok bool, where, message string) {
		if !ok {
			problems = append(problems, fault.Problem{Path: where, Message: message})
		}
	}
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "s3" || u.Host == "" {
		return place{}, fault.New(fault.Invalid, "read the location of the blob store: it is no s3:// URL with a bucket").
			Hint("Write it as s3://bucket/prefix?endpoint=https://s3.example.net&region=eu-1.")
	}
	require(u.User == nil, "user", "must not be in the URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
	require(u.Port() == "" && !strings.Contains(u.Host, ":"), "bucket", "must be a name without a port")
	require(u.Fragment == "", "fragment", "has no meaning here")
	prefix := strings.Trim(u.Path, "/")
	require(prefix == "" || path.Clean(prefix) == prefix && !strings.HasPrefix(prefix, ".."), "prefix", "must be a plain path")
	query, err := url.ParseQuery(u.RawQuery)
	require(err == nil, "query", "cannot be read")
	p := place{bucket: u.Host, prefix: prefix, region: query.Get("region"), endpoint: query.Get("endpoint")}
	for name, values := range query {
		require(name == "region" || name == "endpoint" || name == "path_style", "query", "has the unknown parameter "+fmt.Sprintf("%.40q", name))
		require(len(values) == 1, "query."+name, "is there more than once")
	}
	if p.endpoint != "" {
		e, err := url.Parse(p.endpoint)
		require(err == nil && (e.Scheme == "http" || e.Scheme == "https") && e.Host != "" && e.User == nil && e.RawQuery == "" && e.Fragment == "",
			"query.endpoint", "must be an http or https URL without user and query")
	}
	switch style := query.Get("path_style"); style {
	case "", "true", "false":
		p.pathStyle = style == "true" || style == "" && p.endpoint != ""
	default:
		require(false, "query.path_style", "must be true or false")
	}
	return p, fault.Problems("read the location of the blob store", problems)
}

// layOut writes the files of the layout that are not there yet.
func (s *Store) layOut(ctx context.Context) error {
	for name, content := range map[string]string{"oci-layout": blob.LayoutFile, indexName: blob.EmptyIndex} {
		_, err := s.stat(ctx, s.named(name))
		if missing(err) {
			err = s.write(ctx, s.named(name), []byte(content))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const indexName = "index.json"

// Index reads the layout's index.json.
func (s *Store) Index(ctx context.Context) ([]byte, error) {
	answer, err := s.api.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: s.named(indexName)})
	if err != nil {
		return nil, s.failed("read the index of blob store "+s.where, err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxIndex))
	return data, s.failed("read the index of blob store "+s.where, err)
}

// SetIndex replaces index.json in one step. Of two replicas that do so at once, one wins.
func (s *Store) SetIndex(ctx context.Context, data []byte) error {
	return s.failed("write the index of blob store "+s.where, s.write(ctx, s.named(indexName), data))
}

// Put stores the next size bytes of r, if they are all that r has and those that want addresses; anything else is a fault.Invalid.
// A blob that is there already is touched, and r is not read. After an error no object is left behind.
func (s *Store) Put(ctx context.Context, want release.Digest, size int64, r io.Reader) error {
	return s.failed("store blob "+string(want), s.put(ctx, want, size, r))
}

func (s *Store) put(ctx context.Context, want release.Digest, size int64, r io.Reader) error {
	if err := blob.Check(want); err != nil {
		return err
	}
	have, err := s.stat(ctx, s.key(want))
	if err == nil && have.Size != size {
		return blob.OtherSize(have.Size, size)
	}
	if err == nil {
		err = s.touch(ctx, want, have)
	}
	if !missing(err) {
		return err
	}
	if size > partSize*maxParts {
		return fault.New(fault.Invalid, "it has %d bytes; %d is the most that the store takes", size, int64(partSize*maxParts))
	}
	in := blob.Verify(ctx, want, size, r)
	first, ended, err := part(in)
	if err != nil {
		return err
	}
	if ended {
		return s.write(ctx, s.key(want), first)
	}
	return s.putLarge(ctx, s.key(want), first, in)
}

// part reads up to a part, and tells whether that was all and right.
func part(in io.Reader) (data []byte, ended bool, err error) {
	var b bytes.Buffer
	n, err := io.CopyN(&b, in, partSize)
	switch {
	case err == nil && n == partSize:
		return b.Bytes(), false, nil
	case errors.Is(err, io.EOF):
		return b.Bytes(), true, nil
	}
	return nil, false, err
}

// putLarge sends a blob in parts. They become an object only after the verified end of in.
func (s *Store) putLarge(ctx context.Context, key *string, data []byte, in io.Reader) error {
	begun, err := s.api.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: key, ContentType: &octets})
	if err != nil {
		return err
	}
	parts, err := s.sendParts(ctx, key, begun.UploadId, data, in)
	if err == nil {
		_, err = s.api.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.bucket, Key: key, UploadId: begun.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
	}
	if err != nil {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUp)
		defer cancel()
		// The first error says more. What cannot be tidied is for the bucket's rule about incomplete uploads.
		_, _ = s.api.AbortMultipartUpload(tidy, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: key, UploadId: begun.UploadId})
	}
	return err
}

func (s *Store) sendParts(ctx context.Context, key, id *string, data []byte, in io.Reader) ([]types.CompletedPart, error) {
	var parts []types.CompletedPart
	for ended := false; ; {
		if len(data) > 0 {
			number := int32(len(parts) + 1) //nolint:gosec // at most maxParts
			sent, err := s.api.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: &s.bucket, Key: key, UploadId: id, PartNumber: &number, Body: bytes.NewReader(data), ContentLength: aws.Int64(int64(len(data))),
			})
			if err != nil {
				return nil, err
			}
			parts = append(parts, types.CompletedPart{ETag: sent.ETag, PartNumber: &number})
		}
		if ended {
			return parts, nil
		}
		var err error
		if data, ended, err = part(in); err != nil {
			return nil, err
		}
	}
}

var octets = "application/octet-stream" //nolint:gochecknoglobals // the SDK wants its address; nobody writes to it

func (s *Store) write(ctx context.Context, key *string, data []byte) error {
	_, err := s.api.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: key, Body: bytes.NewReader(data), ContentLength: aws.Int64(int64(len(data))), ContentType: &octets,
	})
	return err
}

// Has tells whether a blob is there.
func (s *Store) Has(ctx context.Context, d release.Digest) (bool, error) {
	err := blob.Check(d)
	if err == nil {
		_, err = s.stat(ctx, s.key(d))
	}
	if missing(err) {
		return false, nil
	}
	return err == nil, s.failed("look for blob "+string(d), err)
}

// Touch makes a blob's age begin anew: the object is copied onto itself, unless it was minutes ago. One that is not there is a fault.NotFound.
func (s *Store) Touch(ctx context.Context, d release.Digest) error {
	err := blob.Check(d)
	if err == nil {
		var have blob.Info
		if have, err = s.stat(ctx, s.key(d)); err == nil {
			err = s.touch(ctx, d, have)
		}
	}
	return s.failed("touch blob "+string(d), err)
}

func (s *Store) touch(ctx context.Context, d release.Digest, have blob.Info) error {
	if s.clock.Now().Sub(have.Put) < fresh {
		return nil
	}
	source := (&url.URL{Path: s.bucket + "/" + *s.key(d)}).EscapedPath()
	_, err := s.api.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: &s.bucket, Key: s.key(d), CopySource: &source, ContentType: &octets, MetadataDirective: types.MetadataDirectiveReplace,
	})
	return err
}

// Digests lists all blobs, in the order of their digests. It ends at the first error.
func (s *Store) Digests(ctx context.Context) iter.Seq2[release.Digest, error] {
	return func(yield func(release.Digest, error) bool) {
		for info, err := range s.List(ctx) {
			if !yield(info.Digest, err) {
				return
			}
		}
	}
}

// List lists all blobs with sizes and ages, as [Store.Digests] does.
func (s *Store) List(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		prefix := s.named("blobs/sha256/")
		pages := s3.NewListObjectsV2Paginator(s.api, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(blob.Info{}, s.failed("list blobs of "+s.where, err))
				return
			}
			for _, o := range page.Contents {
				d := release.Digest("sha256:" + strings.TrimPrefix(aws.ToString(o.Key), *prefix))
				if d.Valid() && !yield(blob.Info{Digest: d, Size: aws.ToInt64(o.Size), Put: aws.ToTime(o.LastModified)}, nil) {
					return
				}
			}
		}
	}
}

// Remove deletes a blob. One that is not there is a fault.NotFound.
func (s *Store) Remove(ctx context.Context, d release.Digest) error {
	err := blob.Check(d)
	if err == nil {
		_, err = s.stat(ctx, s.key(d))
	}
	if err == nil {
		err = s.remove(ctx, d)
	}
	return s.failed("remove blob "+string(d), err)
}

// RemoveOlder deletes a blob that was neither put nor touched since before, and tells whether it did. S3 cannot do both in one step:
// whoever touches it in the moment between the two loses, and finds that it is gone when he looks at it before he names it.
func (s *Store) RemoveOlder(ctx context.Context, d release.Digest, before time.Time) (bool, error) {
	what := "remove blob " + string(d)
	if err := blob.Check(d); err != nil {
		return false, s.failed(what, err)
	}
	ctx, cancel := context.WithTimeout(ctx, giveUp) // the moment is short
	defer cancel()
	info, err := s.stat(ctx, s.key(d))
	if missing(err) || err == nil && !info.Put.Before(before) {
		return false, nil
	}
	if err == nil {
		err = s.remove(ctx, d)
	}
	return err == nil, s.failed(what, err)
}

func (s *Store) remove(ctx context.Context, d release.Digest) error {
	_, err := s.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.key(d)})
	return err
}

func (s *Store) stat(ctx context.Context, key *string) (blob.Info, error) {
	answer, err := s.api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: key})
	if err != nil {
		return blob.Info{}, err
	}
	return blob.Info{Size: aws.ToInt64(answer.ContentLength), Put: aws.ToTime(answer.LastModified)}, nil
}

// named is the key of a file of the layout.
func (s *Store) named(name string) *string {
	if s.prefix != "" {
		name = s.prefix + "/" + name
	}
	return &name
}

// key is where a blob is.
func (s *Store) key(d release.Digest) *string { return s.named("blobs/sha256/" + d.Hex()) }

// missing tells whether an error says that an object is not there. An answer to HEAD has no body that could say more.
func missing(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "NoSuchKey", "NotFound":
		return true
	}
	return false
}

// failed says what was being done and gives an error of the store its kind; nil stays nil. Of the SDK's errors it keeps only what can
// hold no secret: the code and message of the store, or the cause of the failed connection.
func (s *Store) failed(what string, err error) error {
	var known *fault.Error
	var api smithy.APIError
	var wire *smithy.OperationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return fmt.Errorf("%s: %w", what, err)
	case missing(err):
		return fmt.Errorf("%s: %w", what, blob.Absent())
	case errors.As(err, &api) && refusing(api.ErrorCode()):
		return fault.New(fault.Unavailable, "%s: %s refused it: %s", what, s.where, api.ErrorCode()).
			Hint("Check the access key, its rights on the bucket, the region and this machine's clock.")
	case errors.As(err, &api) && api.ErrorCode() == "NoSuchBucket":
		return fault.New(fault.Unavailable, "%s: there is no bucket %s", what, s.bucket).Hint("Make the bucket, or name another.")
	case errors.As(err, &api):
		return fault.New(fault.Unavailable, "%s: %s answered %s", what, s.where, api.ErrorCode()).
			Hint("Look at the object store's log, and try again. Nothing was lost.")
	case errors.As(err, &wire) && noCredentials(err):
		return fault.New(fault.Unavailable, "%s: there are no credentials for %s", what, s.where).
			Hint("Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role.")
	}
	return fault.New(fault.Unavailable, "%s: %s cannot be reached: %w", what, s.where, innermost(err)).
		Hint("Check that the object store runs and that the endpoint is right. Nothing was lost; it is tried again.")
}

func refusing(code string) bool {
	switch code {
	case "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed", "ExpiredToken":
		return true
	}
	return false
}

// noCredentials tells whether the SDK found nothing to sign with. It has no error for that which could be asked otherwise.
func noCredentials(err error) bool {
	text := err.Error()
	return strings.Contains(text, "get identity") || strings.Contains(text, "retrieve credentials")
}

// innermost is the cause at the bottom: above it are URLs, which signatures may be part of.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
