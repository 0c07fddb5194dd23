// Package release has the nouns of what is shipped: components, their kinds, releases and artifacts, all addressed by digest.
package release

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// Digest addresses bytes: "sha256:" and 64 lower-case hexadecimal digits.
type Digest string

// DigestOf addresses data.
func DigestOf(data []byte) Digest { return DigestFrom(sha256.Sum256(data)) }

// DigestFrom makes a Digest of a SHA-256 sum.
func DigestFrom(sum [sha256.Size]byte) Digest { return Digest("sha256:" + hex.EncodeToString(sum[:])) }

// Hex is the digest without its algorithm, or "" if it is not valid.
func (d Digest) Hex() string {
	h, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok || len(h) != 2*sha256.Size || strings.Trim(h, "0123456789abcdef") != "" {
		return ""
	}
	return h
}

// Valid tells whether d is well formed.
func (d Digest) Valid() bool { return d.Hex() != "" }

// Short is enough of the digest for a person.
func (d Digest) Short() string {
	if h := d.Hex(); h != "" {
		return h[:12]
	}
	return string(d)
}

// Kind is how a component is installed.
type Kind string

// The kinds.
const (
	Content Kind = "content" // files that a consumer reads
	Config  Kind = "config"  // likewise, and people wrote them
	Toggle  Kind = "toggle"  // likewise, and they switch something on or off
	Binary  Kind = "binary"  // the consumer's own executable
	Package Kind = "package" // of the operating system
	Agent   Kind = "agent"   // the endpoint agent itself
)

// Kinds lists the kinds that can be installed, for people.
const Kinds = `content, config, toggle, binary, package, agent, or one of your own that begins with "x-"`

// Installable tells whether hosts can install the kind, those of others with an installer of their own.
func (k Kind) Installable() bool {
	switch k {
	case Content, Config, Toggle, Binary, Package, Agent:
		return true
	}
	return k.Foreign()
}

// Foreign tells whether the kind is one of somebody else: the host's component file names the program that installs it.
func (k Kind) Foreign() bool { return strings.HasPrefix(string(k), "x-") && plan.Name(string(k)) }

// Executable tells whether a single file of the kind is a program.
func (k Kind) Executable() bool { return k == Binary || k == Agent }

// Format is how an artifact's bytes unfold on disk.
type Format string

// The formats.
const (
	File Format = "file" // one file, named by Artifact.Name
	Tar  Format = "tar"  // a directory as an uncompressed POSIX tar of regular files and directories
)

// AnyPlatform is the platform of an artifact that fits every endpoint.
const AnyPlatform = "any"

// Limits of what a release may hold.
const (
	MaxArtifacts    = 64
	MaxArtifactSize = 1 << 31
	MaxManifestSize = 1 << 20
)

// Artifact is one payload of a release.
type Artifact struct {
	Platform string `json:"platform"` // "any" or os/arch, as in linux/amd64
	Format   Format `json:"format"`
	Name     string `json:"name"` // file name, a single path element
	Digest   Digest `json:"digest"`
	Size     int64  `json:"size"` // bytes
}

// Verdict is what a validator said of one artifact. A missing verdict is a rejection.
type Verdict struct {
	Validator string    `json:"validator"` // the command that was run, without its arguments
	Artifact  Digest    `json:"artifact"`
	Passed    bool      `json:"passed"`
	Detail    string    `json:"detail,omitempty"` // its last words
	At        time.Time `json:"at"`
}

// Manifest describes one immutable version of a component. It is a TUF target, signed by the component's release keys.
type Manifest struct {
	Format    int               `json:"format"` // 1
	Component string            `json:"component"`
	Version   string            `json:"version"`
	Serial    int64             `json:"serial"` // 1, 2, 3 ... in the order of publishing; floors compare serials
	Floor     int64             `json:"floor"`  // endpoints that saw this release never go below this serial again
	Kind      Kind              `json:"kind"`
	Created   time.Time         `json:"created"`
	Artifacts []Artifact        `json:"artifacts"`
	Contract  map[string]string `json:"contract,omitempty"` // what the content needs; the endpoint's component file says what is provided
	Verdicts  []Verdict         `json:"verdicts,omitempty"`
	Plan      plan.Plan         `json:"plan"` // the schedule that no rollout of this release may outrun
}

// For picks the artifact for a platform such as "linux/amd64". An exact match wins over "any".
func (m Manifest) For(platform string) (Artifact, bool) {
	var found Artifact
	for _, a := range m.Artifacts {
		if a.Platform == platform {
			return a, true
		}
		if a.Platform == AnyPlatform {
			found = a
		}
	}
	return found, found.Digest != ""
}

// Validated tells whether every artifact has a passing verdict and none has a failing one.
func (m Manifest) Validated() bool {
	passed := map[Digest]bool{}
	for _, v := range m.Verdicts {
		if !v.Passed {
			return false
		}
		passed[v.Artifact] = true
	}
	for _, a := range m.Artifacts {
		if !passed[a.Digest] {
			return false
		}
	}
	return len(m.Artifacts) > 0
}

// Digests lists the digests of all artifacts: what a recall of this release names.
func (m Manifest) Digests() []Digest {
	all := make([]Digest, 0, len(m.Artifacts))
	for _, a := range m.Artifacts {
		all = append(all, a.Digest)
	}
	return all
}

// Check lists everything that is wrong with the manifest, each with its path.
func (m Manifest) Check() []fault.Problem {
	var problems []fault.Problem
	require := func(ok bool, path, format string, args ...any) {
		if !ok {
			problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
		}
	}
	require(m.Format == 1, "format", "is %d; this version reads format 1", m.Format)
	require(plan.Name(m.Component), "component", "must be 1 to 63 lower-case letters, digits and dashes, is %q", m.Component)
	require(VersionName(m.Version), "version", "must be 1 to 64 letters, digits, dots, dashes, plus and underscores, is %q", m.Version)
	require(m.Serial > 0, "serial", "must be above 0, is %d", m.Serial)
	require(m.Floor >= 0 && m.Floor <= m.Serial, "floor", "must be between 0 and the release's own serial (%d), is %d", m.Serial, m.Floor)
	require(m.Kind.Installable(), "kind", "must be "+Kinds+", is %q", m.Kind)
	require(!m.Created.IsZero(), "created", "is missing")
	require(len(m.Artifacts) > 0 && len(m.Artifacts) <= MaxArtifacts, "artifacts", "must be 1 to %d, are %d", MaxArtifacts, len(m.Artifacts))
	platforms := map[string]bool{}
	for i, a := range m.Artifacts {
		path := fmt.Sprintf("artifacts[%d]", i)
		problems = append(problems, a.check(path)...)
		require(!platforms[a.Platform], path+".platform", "is there twice: %q", a.Platform)
		platforms[a.Platform] = true
	}
	for _, p := range m.Plan.Defaulted().Check() {
		p.Path = "plan." + p.Path
		problems = append(problems, p)
	}
	return problems
}

func (a Artifact) check(path string) []fault.Problem {
	var problems []fault.Problem
	require := func(ok bool, field, format string, args ...any) {
		if !ok {
			problems = append(problems, fault.Problem{Path: path + "." + field, Message: fmt.Sprintf(format, args...)})
		}
	}
	require(a.Platform == AnyPlatform || platform(a.Platform), "platform", `must be "any" or os/arch, is %q`, a.Platform)
	require(a.Format == File || a.Format == Tar, "format", `must be "file" or "tar", is %q`, a.Format)
	require(FileName(a.Name), "name", "must be a plain file name, is %q", a.Name)
	require(a.Digest.Valid(), "digest", `must be "sha256:" and 64 hexadecimal digits, is %q`, a.Digest)
	require(a.Size > 0 && a.Size <= MaxArtifactSize, "size", "must be 1 to %d bytes, is %d", int64(MaxArtifactSize), a.Size)
	return problems
}

// VersionName tells whether s can be a release's version. It is used in paths and URLs.
func VersionName(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-+_"
	return FileName(s) && len(s) <= 64 && strings.Trim(s, allowed) == ""
}

// FileName tells whether s is a single, visible path element on every operating system.
func FileName(s string) bool {
	return s != "" && len(s) <= 255 && s[0] != '.' && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f || r == '\uFFFD' || strings.ContainsRune(`/\:`, r)
	})
}

// platform tells whether s is os/arch, as the Go tools spell it. It becomes part of paths.
func platform(s string) bool {
	os, arch, ok := strings.Cut(s, "/")
	return ok && plan.Name(os) && plan.Name(arch)
}
