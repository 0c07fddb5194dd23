package doctor_test

import (
	"database/sql"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/backup"
	"github.com/firebreak-dev/firebreak/internal/control/backup/backuptest"
	"github.com/firebreak-dev/firebreak/internal/control/doctor"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// examine looks at an installation a minute after it was made. Its schema is the newest: this program made it, and finding out takes a while.
func examine(t *testing.T, o doctor.Options) []doctor.Finding {
	t.Helper()
	o.Newest = -1
	if d, err := backup.Inspect(t.Context(), filepath.Join(o.Data, "firebreak.db"), false); err == nil {
		o.Newest = d.Schema
	}
	return fully(t, o)
}

// fully looks at everything.
func fully(t *testing.T, o doctor.Options) []doctor.Finding {
	t.Helper()
	if o.Now.IsZero() {
		o.Now = backuptest.Start().Add(time.Minute)
	}
	return doctor.Run(t.Context(), o)
}

// want looks for a finding of a check, in a state, that says something. What is not well says what to do.
func want(t *testing.T, findings []doctor.Finding, check string, state doctor.State, says string) {
	t.Helper()
	for _, f := range findings {
		if f.Check == check && f.State == state && strings.Contains(f.Found, says) {
			if (state == doctor.Wrong || state == doctor.Warning) && f.Next == "" {
				t.Errorf("%+v: got no next step", f)
			}
			return
		}
	}
	t.Errorf("got %+v\nwant %s %s: ...%s...", findings, check, state, says)
}

// stopped is an installation whose server was stopped.
func stopped(t *testing.T) *backuptest.Installation {
	t.Helper()
	in := backuptest.New(t)
	in.Stop()
	return in
}

func TestASoundInstallation(t *testing.T) {
	t.Parallel()
	in := backuptest.New(t)
	for _, all := range []bool{false, true} {
		findings := examine(t, doctor.Options{Data: in.Dir, All: all})
		if worst := doctor.Worst(findings); worst != doctor.OK {
			t.Errorf("all %t: got %s: %+v", all, worst, findings)
		}
		want(t, findings, "lock", doctor.OK, "a server runs")
		want(t, findings, "artifacts", doctor.OK, "2 are there, 2 of them needed now; 2 were read")
		want(t, findings, "key director", doctor.OK, "names it")
	}
	in.Stop()
	findings := fully(t, doctor.Options{Data: in.Dir, Listen: []string{"127.0.0.1:0"}})
	if worst := doctor.Worst(findings); worst != doctor.OK {
		t.Errorf("got %s: %+v", worst, findings)
	}
	want(t, findings, "lock", doctor.OK, "no server runs")
	want(t, findings, "address", doctor.OK, "is free")
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	nowhere := examine(t, doctor.Options{Data: filepath.Join(t.TempDir(), "nowhere")})
	want(t, nowhere, "data directory", doctor.Wrong, "is not there")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, examine(t, doctor.Options{Data: file}), "data directory", doctor.Wrong, "is no directory")
	empty := examine(t, doctor.Options{Data: t.TempDir()})
	want(t, empty, "database", doctor.OK, "none yet")
	want(t, empty, "key ca", doctor.OK, "none yet")
}

func TestSomebodyElsesFiles(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("windows has other permissions")
	}
	in := stopped(t)
	if err := os.Chmod(in.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	want(t, examine(t, doctor.Options{Data: in.Dir}), "data directory", doctor.Warning, "others may look")
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	if err := os.Chown(filepath.Join(in.Dir, "firebreak.db"), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	want(t, examine(t, doctor.Options{Data: in.Dir}), "data directory", doctor.Wrong, "belongs to user 12345")
}

func TestHalfWrittenDatabase(t *testing.T) {
	t.Parallel()
	in := stopped(t)
	file := filepath.Join(in.Dir, "firebreak.db")
	good := must(os.ReadFile(file))(t)
	overwritten := append([]byte("GARBAGE GARBAGE!"), good[16:]...)
	holed := append([]byte(nil), good...)
	for i := 4096; i < len(holed); i++ {
		holed[i] = 0xa5
	}
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"cut off": {good[:len(good)/2], "cut off"}, "within a page": {good[:len(good)-100], "cut off"}, "empty": {nil, "empty"},
		"overwritten": {overwritten, "no SQLite database"}, "holes": {holed, ""}, "nothing but a header": {good[:100], "cut off"},
	} {
		if err := os.WriteFile(file, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		findings := examine(t, doctor.Options{Data: in.Dir, All: true})
		t.Log(name)
		want(t, findings, "database", doctor.Wrong, c.says)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want(t, examine(t, doctor.Options{Data: in.Dir}), "database", doctor.Wrong, "it was lost")
}

// change runs SQL on a stopped installation's database.
func change(t *testing.T, in *backuptest.Installation, query string, args ...any) {
	t.Helper()
	db := must(sql.Open("sqlite", filepath.Join(in.Dir, "firebreak.db")))(t)
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func TestSchemaOfAnotherVersion(t *testing.T) {
	t.Parallel()
	in := stopped(t)
	change(t, in, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, 1)`)
	want(t, fully(t, doctor.Options{Data: in.Dir}), "schema", doctor.Wrong, "from the future")
	change(t, in, `DELETE FROM goose_db_version WHERE version_id > 2`)
	want(t, fully(t, doctor.Options{Data: in.Dir}), "schema", doctor.Warning, "version 2; the next start of this program brings it")
}

func TestKeys(t *testing.T) {
	t.Parallel()
	in := stopped(t)
	keys := filepath.Join(in.Dir, "keys")
	other := filepath.Join(stopped(t).Dir, "keys")
	swap := func(name string, data []byte) func() {
		path := filepath.Join(keys, name)
		was := must(os.ReadFile(path))(t)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if data != nil {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return func() {
			if err := os.WriteFile(path, was, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct{ name, check string }{
		{"ca.pem", "key ca"}, {"director.pem", "key director"}, {"snapshot.pem", "key snapshot"}, {"timestamp.pem", "key timestamp"},
	} {
		back := swap(c.name, nil)
		want(t, examine(t, doctor.Options{Data: in.Dir}), c.check, doctor.Wrong, "is not there")
		back()
		back = swap(c.name, []byte("no key"))
		want(t, examine(t, doctor.Options{Data: in.Dir}), c.check, doctor.Wrong, "")
		back()
		if c.name != "ca.pem" {
			back = swap(c.name, must(os.ReadFile(filepath.Join(other, c.name)))(t))
			want(t, examine(t, doctor.Options{Data: in.Dir}), c.check, doctor.Wrong, "names another key")
			back()
		}
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(filepath.Join(keys, "ca.pem"), 0o644); err != nil {
			t.Fatal(err)
		}
		want(t, examine(t, doctor.Options{Data: in.Dir}), "key ca", doctor.Wrong, "others may read")
	}
}

func TestAnotherAuthority(t *testing.T) {
	t.Parallel()
	in := stopped(t)
	change(t, in, `INSERT INTO settings (key, value) VALUES ('authority', 'sha256:00')`)
	want(t, examine(t, doctor.Options{Data: in.Dir}), "key ca", doctor.Wrong, "another authority")
}

func TestWhatExpires(t *testing.T) {
	t.Parallel()
	in := stopped(t)
	soon := examine(t, doctor.Options{Data: in.Dir, Now: backuptest.Start().AddDate(1, 0, -3)})
	want(t, soon, "metadata", doctor.Warning, "root expires")
	want(t, soon, "metadata", doctor.Warning, "targets expires")
	want(t, soon, "metadata", doctor.Warning, backuptest.Component+" expires")
	want(t, soon, "metadata", doctor.OK, "the server renews it")
	late := examine(t, doctor.Options{Data: in.Dir, Now: backuptest.Start().AddDate(11, 0, 0)})
	want(t, late, "metadata", doctor.Wrong, "root expired")
	want(t, late, "key ca", doctor.Wrong, "authority expired")
	in.Open()
	running := examine(t, doctor.Options{Data: in.Dir, Now: backuptest.Start().AddDate(0, 0, 3)})
	want(t, running, "metadata", doctor.Wrong, "though a server runs")
}

func TestClock(t *testing.T) {
	t.Parallel()
	in := stopped(t)
	want(t, examine(t, doctor.Options{Data: in.Dir, Now: backuptest.Start().Add(-time.Hour)}), "clock", doctor.Wrong, "the database has something from")
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	in := stopped(t)
	d := release.DigestOf([]byte(backuptest.Component + " 1"))
	file := backup.BlobFile(in.Dir, d)
	if err := os.WriteFile(file, []byte("sensor-content X"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, examine(t, doctor.Options{Data: in.Dir}), "artifacts", doctor.Wrong, "is damaged")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want(t, examine(t, doctor.Options{Data: in.Dir}), "artifacts", doctor.Wrong, "a rollout needs it")
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	l := must(config.Listen(t.Context(), "tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	findings := examine(t, doctor.Options{Data: t.TempDir(), Listen: []string{l.Addr().String()}})
	want(t, findings, "address", doctor.Wrong, "cannot be listened on")
}

func TestServer(t *testing.T) {
	t.Parallel()
	answers := map[string]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(answers[r.URL.Path])) }))
	defer s.Close()
	o := doctor.Options{Data: t.TempDir(), Server: s.URL, Private: s.URL}
	answers["/readyz"] = `{"ready":false,"checks":[{"name":"database","ok":false,"why":"it is away","next":"Bring it back.","since":"2026-01-01T00:00:00Z"}]}`
	answers["/metrics"] = "firebreak_build_info 1"
	findings := examine(t, o)
	want(t, findings, "server database", doctor.Wrong, "it is away")
	want(t, findings, "metrics", doctor.OK, "has them")
	answers["/readyz"] = `{"ready":true,"checks":[{"name":"database","ok":true,"since":"2026-01-01T00:00:00Z"}]}`
	answers["/metrics"] = "something_else 1"
	findings = examine(t, o)
	want(t, findings, "server", doctor.OK, "is ready")
	want(t, findings, "metrics", doctor.Wrong, "without metrics")
	answers["/readyz"] = "404 page not found"
	want(t, examine(t, o), "server", doctor.Wrong, "not as a control plane does")
	s.Close()
	want(t, examine(t, o), "server", doctor.Wrong, "does not answer")
}
