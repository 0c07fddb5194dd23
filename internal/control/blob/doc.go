// Package blob is about artifacts and manifests as bytes, addressed by their SHA-256 sum. It has no code: a store of blobs is a
// package below (blob/disk), consumers declare the few methods that they need, and every store passes the suite in blob/blobtest:
//
//	Put(ctx, want, size, r) error                stores size bytes of r, if they are those that want addresses, durably
//	Open(ctx, digest) (io.ReadSeekCloser, size)  reads them
//	Has(ctx, digest) (bool, error)
//	Digests(ctx) iter.Seq2[release.Digest, error]
//	Remove(ctx, digest) error
//
// A blob is there in full or not at all, whenever the machine stops, and never changes. So a caller may publish what names a blob as
// soon as Put has returned.
package blob
