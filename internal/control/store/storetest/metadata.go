package storetest

import (
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

func metadataTests() []test {
	return []test{
		{"metadata/files come back byte for byte", metadataComesBack},
		{"metadata/nil deletes", metadataDeleted},
		{"metadata/names by prefix", metadataNames},
		{"metadata/all or nothing", metadataAtomic},
		{"release/comes back and is listed newest first", releaseComesBack},
		{"release/the same again changes nothing", releaseAgain},
		{"release/other bytes under one version are refused", releaseOtherBytes},
		{"release/a taken serial is refused", releaseTakenSerial},
	}
}

type files = map[string][]byte

func metadataComesBack(t *testing.T, s *store.Store) {
	want := files{"1.root.json": []byte(" {\x00\xff} "), "empty": {}}
	ok(t, s.SaveMetadata(t.Context(), want, nil))
	for name, data := range want {
		same(t, string(must[[]byte](t)(s.MetadataFile(t.Context(), name))), string(data))
	}
	ok(t, s.SaveMetadata(t.Context(), files{"1.root.json": []byte("new")}, nil))
	same(t, string(must[[]byte](t)(s.MetadataFile(t.Context(), "1.root.json"))), "new")
	_, err := s.MetadataFile(t.Context(), "2.root.json")
	refused(t, err, fault.NotFound)
}

func metadataDeleted(t *testing.T, s *store.Store) {
	ok(t, s.SaveMetadata(t.Context(), files{"a": []byte("x")}, nil))
	ok(t, s.SaveMetadata(t.Context(), files{"a": nil, "never there": nil}, nil))
	_, err := s.MetadataFile(t.Context(), "a")
	refused(t, err, fault.NotFound)
}

func metadataNames(t *testing.T, s *store.Store) {
	x := []byte("x")
	ok(t, s.SaveMetadata(t.Context(), files{"p/b": x, "p/a": x, "p%": x, "p": x, "P/c": x, "ü/1": x, "_/": x}, nil))
	for prefix, want := range map[string][]string{
		"p/": {"p/a", "p/b"}, "p%": {"p%"}, "_": {"_/"}, "ü": {"ü/1"}, "q": nil, "": {"P/c", "_/", "p", "p%", "p/a", "p/b", "ü/1"},
	} {
		same(t, must[[]string](t)(s.MetadataNames(t.Context(), prefix)), want)
	}
}

func metadataAtomic(t *testing.T, s *store.Store) {
	had, bad := published("c", "v1", 1), published("c", "v1", 1)
	bad.Digest = digest("another")
	ok(t, s.SaveMetadata(t.Context(), nil, []release.Published{had}))
	err := s.SaveMetadata(t.Context(), files{"a": []byte("x")}, []release.Published{published("c", "v2", 2), bad})
	refused(t, err, fault.Conflict)
	_, err = s.MetadataFile(t.Context(), "a")
	refused(t, err, fault.NotFound)
	same(t, must[[]release.Published](t)(s.Releases(t.Context(), "")), []release.Published{had})
}

func releaseComesBack(t *testing.T, s *store.Store) {
	a1, a2, b1 := published("a", "v9", 1), published("a", "v10", 2), published("b", "v1", 1)
	ok(t, s.SaveMetadata(t.Context(), nil, []release.Published{b1, a1, a2}))
	same(t, must[release.Published](t)(s.Release(t.Context(), "a", "v9")), a1)
	same(t, must[release.Published](t)(s.Release(t.Context(), "a", "v10")), a2)
	same(t, must[[]release.Published](t)(s.Releases(t.Context(), "a")), []release.Published{a2, a1})
	same(t, must[[]release.Published](t)(s.Releases(t.Context(), "")), []release.Published{a2, a1, b1})
	_, err := s.Release(t.Context(), "b", "v9")
	refused(t, err, fault.NotFound)
}

func releaseAgain(t *testing.T, s *store.Store) {
	p := published("a", "v1", 1)
	for range 2 {
		ok(t, s.SaveMetadata(t.Context(), nil, []release.Published{p, p}))
	}
	same(t, must[[]release.Published](t)(s.Releases(t.Context(), "a")), []release.Published{p})
}

func releaseOtherBytes(t *testing.T, s *store.Store) {
	p, other := published("a", "v1", 1), published("a", "v1", 2)
	other.Digest = digest("other bytes")
	ok(t, s.SaveMetadata(t.Context(), nil, []release.Published{p}))
	err := s.SaveMetadata(t.Context(), nil, []release.Published{other})
	refused(t, err, fault.Conflict)
	for _, name := range []release.Digest{p.Digest, other.Digest} {
		if err != nil && !strings.Contains(err.Error(), string(name)) {
			t.Errorf("got %q, want %s named", err, name)
		}
	}
}

func releaseTakenSerial(t *testing.T, s *store.Store) {
	ok(t, s.SaveMetadata(t.Context(), nil, []release.Published{published("a", "v1", 1)}))
	refused(t, s.SaveMetadata(t.Context(), nil, []release.Published{published("a", "v2", 1)}), fault.Conflict)
}
