package release

// Published is a release with the digest of its manifest as it was signed: the digest of the exact bytes of release.json, which no
// re-encoding of Manifest needs to give again.
type Published struct {
	Manifest Manifest
	Digest   Digest
}
