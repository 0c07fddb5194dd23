// Package blob is about artifacts and manifests as bytes, addressed by their SHA-256 sum. A store of blobs is a package below
// (blob/disk, blob/s3), consumers declare the few methods that they need, and every store passes the suite in blob/blobtest:
//
//	Put(ctx, want, size, r) error                stores size bytes of r, if they are those that want addresses, durably
//	Open(ctx, digest) (io.ReadSeekCloser, size)  reads them
//	Has(ctx, digest) (bool, error)
//	Touch(ctx, digest) error                     somebody is about to name it: its age begins anew
//	Digests(ctx) iter.Seq2[release.Digest, error]
//	List(ctx) iter.Seq2[Info, error]             the same with sizes and ages
//	Remove(ctx, digest) error
//	RemoveOlder(ctx, digest, before) (bool, error)  unless it was put or touched since then
//	Index(ctx), SetIndex(ctx, data)              the index.json of the OCI image layout that every store is
//
// A blob is there in full or not at all, whenever the machine stops, and never changes. So a caller may publish what names a blob as
// soon as Put or Touch has returned: garbage collection (blob/gc) leaves young blobs alone.
package blob
