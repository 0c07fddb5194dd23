package component_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
)

const sensor = `component: sensor-content
kind: content
provides: {fields: "20", schema: ipc}
validator: [/usr/bin/sensor, validate, "{dir}"]
limits: {size: 1048576, files: 20}
consumer:
  run: [/usr/bin/sensor, --content, "{current}", --addr-file, /run/sensor.addr]
  tell: {signal: HUP}
probes:
  - restarts: {}
  - http: {url: "http://{address}/healthz", address_file: /run/sensor.addr}
  - name: ready
    http: {url: "http://localhost:1/ready", status: 204}
    timeout: 1s
  - http: {url: "https://localhost/other"}
  - loaded:
      file: detections.json
      http: {url: "http://{address}/loaded", address_file: /run/sensor.addr}
  - exec: ["/bin/true", "{current}/x"]
  - tcp: localhost:80
  - unit: other.service
soak: 20s
`

func TestParseFillsInDefaults(t *testing.T) {
	t.Parallel()
	f, err := component.Parse([]byte(sensor))
	if err != nil {
		t.Fatal(err)
	}
	if f.Soak != component.Duration(20*time.Second) || f.Interval != component.DefaultInterval || f.Grace != component.DefaultGrace ||
		f.Watch != component.DefaultWatch || f.Consumer.Tell.Timeout != component.DefaultTellTimeout {
		t.Errorf("got soak %s, interval %s, grace %s, watch %s, tell timeout %s", f.Soak, f.Interval, f.Grace, f.Watch, f.Consumer.Tell.Timeout)
	}
	names := make([]string, 0, len(f.Probes))
	for _, p := range f.Probes {
		names = append(names, p.Name+" "+p.Timeout.String())
	}
	want := []string{"restarts 5s", "http 5s", "ready 1s", "http-2 5s", "loaded 5s", "exec 5s", "tcp 5s", "unit 5s"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("probes (-want +got):\n%s", diff)
	}
	small, err := component.Parse([]byte("component: a\nkind: config\nsoak: 2s\n"))
	if err != nil {
		t.Fatal(err)
	}
	if small.Interval != small.Soak || small.Grace != small.Soak || small.Limits.Files != component.DefaultFiles {
		t.Errorf("got interval %s and grace %s for a soak of %s", small.Interval, small.Grace, small.Soak)
	}
}

func TestResolvePutsTheCurrentReleaseInPlace(t *testing.T) {
	t.Parallel()
	f, err := component.Parse([]byte(sensor))
	if err != nil {
		t.Fatal(err)
	}
	r := f.Resolve("/s/current")
	if got, want := r.Consumer.Run[2], "/s/current"; got != want {
		t.Errorf("run: got %q, want %q", got, want)
	}
	if got, want := r.Probes[5].Exec[1], "/s/current/x"; got != want {
		t.Errorf("probe: got %q, want %q", got, want)
	}
	if f.Consumer.Run[2] != "{current}" || f.Probes[5].Exec[1] != "{current}/x" {
		t.Error("the file itself was changed")
	}
}

func TestCheckListsAllMistakes(t *testing.T) {
	t.Parallel()
	doc := `component: Sensor
kind: firmware
validator: [validate]
limits: {files: -1}
consumer:
  run: []
  unit: "-x"
  tell: {signal: KILL, pid_file: /p, restart: true, unit: reboot, timeout: 1h}
probes:
  - {}
  - {tcp: nowhere, exec: [""]}
  - http: {url: "ftp://x", status: 1}
  - http: {url: "http://x/", address_file: /a}
  - loaded: {file: ../etc/passwd}
  - {name: n, tcp: "a:1"}
  - {name: n, tcp: "a:1"}
  - restarts: {max: -1}
soak: 1m
interval: 2m
`
	_, err := component.Parse([]byte(doc))
	var got []string
	for _, p := range fault.ProblemsOf(err) {
		got = append(got, fmt.Sprintf("%d %s", p.Line, p.Path))
	}
	want := []string{
		"1 component", "2 kind", "3 validator", "4 limits.files",
		"5 consumer", "6 consumer.run", "7 consumer.unit",
		"8 consumer.tell", "8 consumer.tell.signal", "8 consumer.tell.signal", "8 consumer.tell.unit", "8 consumer.tell.timeout",
		"10 probes[0]",
		"11 probes[1]", "11 probes[1].exec", "11 probes[1].tcp",
		"12 probes[2].http.url", "12 probes[2].http.status",
		"13 probes[3].http.url",
		"14 probes[4].loaded.file", "14 probes[4].loaded",
		"16 probes[6].name",
		"17 probes[7].restarts.max",
		"19 interval",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s\n%v", diff, err)
	}
}

// A program has to be started again to run its new release, and one that does not stay up is no good: nobody needs to say so.
func TestBinaryRestartsItsConsumer(t *testing.T) {
	t.Parallel()
	for consumer, want := range map[string]component.File{
		`{run: ["{current}/sensor"]}`: {
			Consumer: component.Consumer{Tell: component.Tell{Restart: true}}, Probes: []component.Probe{{Restarts: &component.Restarts{}}},
		},
		`{unit: sensor.service}`: {
			Consumer: component.Consumer{Tell: component.Tell{Unit: "restart"}}, Probes: []component.Probe{{Unit: "sensor.service"}},
		},
		`{unit: sensor.service, tell: {command: [/bin/true]}}`: {
			Consumer: component.Consumer{Tell: component.Tell{Command: []string{"/bin/true"}}}, Probes: []component.Probe{{Unit: "sensor.service"}},
		},
	} {
		got, err := component.Parse([]byte("component: sensor\nkind: binary\nconsumer: " + consumer + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		got.Consumer.Tell.Timeout, got.Probes[0].Name, got.Probes[0].Timeout = 0, "", 0
		if diff := cmp.Diff(want.Consumer.Tell, got.Consumer.Tell); diff != "" {
			t.Errorf("%s: tell (-want +got):\n%s", consumer, diff)
		}
		if diff := cmp.Diff(want.Probes, got.Probes); diff != "" {
			t.Errorf("%s: probes (-want +got):\n%s", consumer, diff)
		}
	}
}

func TestCheckOfKinds(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string][]string{
		"component: a\nkind: toggle":                                                nil,
		"component: a\nkind: package":                                               nil,
		"component: a\nkind: x-firmware\ninstaller: [flash]":                        nil,
		"component: a\nkind: x-firmware":                                            {"installer"},
		"component: a\nkind: content\ninstaller: [flash]":                           {"installer"},
		"component: a\nkind: agent":                                                 {"kind"},
		"component: firebreak-agent\nkind: content":                                 {"kind"},
		"component: firebreak-agent\nkind: agent\nsoak: 1m":                         nil,
		"component: firebreak-agent\nkind: agent\nprobes: [{tcp: \"localhost:1\"}]": {"consumer"},
	} {
		_, err := component.Parse([]byte(doc))
		var got []string
		for _, p := range fault.ProblemsOf(err) {
			got = append(got, p.Path)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: problems (-want +got):\n%s", doc, diff)
		}
	}
	if problems := component.OfAgent().Check(); len(problems) != 0 {
		t.Errorf("the agent's own file: got %v, want no problems", problems)
	}
}

// A factory release is kept only where the boot guard can go to it.
func TestFactoryIsForWhatTheGuardCanSwitch(t *testing.T) {
	t.Parallel()
	for doc, fine := range map[string]bool{
		"kind: content": true, "kind: config": true, "kind: binary\nconsumer: {run: [\"{current}/a\"]}": true, "kind: package": false,
		"kind: x-mine\ninstaller: [/bin/true]": false,
	} {
		f, err := component.Parse([]byte("component: a\nfactory: true\n" + doc))
		if fine != (err == nil) || fine && !f.Factory {
			t.Errorf("%s: got %v, want that it is fine: %t", doc, err, fine)
		}
	}
}

// Packages matter at boot unless the file says no, others if it says so.
func TestWhatMattersAtBoot(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]bool{
		"kind: package": true, "kind: package\nboot: false": false, "kind: content": false, "kind: content\nboot: true": true,
	} {
		f, err := component.Parse([]byte("component: a\n" + doc))
		if err != nil {
			t.Fatal(err)
		}
		if got := *f.Boot; got != want {
			t.Errorf("%s: got boot %t, want %t", doc, got, want)
		}
	}
}

func TestCheckOfTheConsumer(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ consumer, want string }{
		"polls":               {"{}", ""},
		"unit reload":         {"{unit: nginx.service, tell: {unit: reload}}", ""},
		"pid file":            {"{tell: {signal: USR1, pid_file: /run/x.pid}}", ""},
		"command":             {"{tell: {command: [/bin/reload]}}", ""},
		"supervised restart":  {"{run: [/bin/x], tell: {restart: true}}", ""},
		"restart of nothing":  {"{tell: {restart: true}}", "consumer.tell.restart: needs consumer.run"},
		"signal to nobody":    {"{tell: {signal: HUP}}", "consumer.tell.signal: needs to know the process"},
		"signal to both":      {"{run: [/bin/x], tell: {signal: HUP, pid_file: /p}}", "consumer.tell.signal: needs to know the process"},
		"reload of nothing":   {"{tell: {unit: reload}}", "consumer.tell.unit: needs consumer.unit"},
		"pid file and no use": {"{tell: {pid_file: /p}}", "consumer.tell.pid_file: is only for a signal"},
		"empty command":       {"{tell: {command: []}}", "consumer.tell.command: names no program"},
		"unit is a path":      {"{unit: ../x}", "consumer.unit: is no name of a systemd unit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := component.Parse([]byte("component: a\nkind: content\nconsumer: " + row.consumer + "\n"))
			if row.want == "" && err != nil || row.want != "" && !strings.Contains(fmt.Sprint(err), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestLoadDirKeepsTheGoodFilesAndListsTheMistakesOfTheOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"10-good.yaml":  "component: good\nkind: content\n",
		"20-bad.yaml":   "component: bad\nkind: content\nsoka: 1m\nkidn: x\n",
		"30-twice.json": `{"component": "good", "kind": "config"}`,
		"40-other.yml":  "component: other\nkind: config\n",
		"README.txt":    "not one",
		"50-open.yaml":  "component: open\nkind: content\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "50-open.yaml"), 0o666); err != nil { // not subject to the umask
		t.Fatal(err)
	}
	files, err := component.LoadDir(dir)
	var names []string
	for _, f := range files {
		names = append(names, f.Component)
	}
	wantNames := []string{"good", "other"}
	wantProblems := []string{"20-bad.yaml: soka", "20-bad.yaml: kidn", "30-twice.json", "50-open.yaml"}
	if runtime.GOOS == "windows" {
		wantNames, wantProblems = append(wantNames, "open"), wantProblems[:3]
	}
	if diff := cmp.Diff(wantNames, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	var got []string
	for _, p := range fault.ProblemsOf(err) {
		got = append(got, p.Path)
	}
	if diff := cmp.Diff(wantProblems, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s\n%v", diff, err)
	}
}

func TestLoadDirOfNothing(t *testing.T) {
	t.Parallel()
	if files, err := component.LoadDir(filepath.Join(t.TempDir(), "none")); len(files) != 0 || err != nil {
		t.Errorf("got %v, %v, want nothing", files, err)
	}
}

func TestProvidedComparesTheContract(t *testing.T) {
	t.Parallel()
	f := component.File{Provides: map[string]string{"fields": "20", "schema": "ipc"}}
	if got := f.Provided(release.Manifest{Contract: map[string]string{"fields": "20"}}); len(got) != 0 {
		t.Errorf("got %v, want no problem", got)
	}
	got := f.Provided(release.Manifest{Contract: map[string]string{"fields": "21", "engine": "7", "schema": "ipc"}})
	want := []fault.Problem{
		{Path: "contract.engine", Message: `asks for "7", and this host provides nothing of that name`},
		{Path: "contract.fields", Message: `asks for "21", and this host provides "20"`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sensor))
	f.Add([]byte(`{"component":"a","kind":"config","probes":[{"loaded":{"file":"x","path":"y"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := component.Parse(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		second, err := component.Parse(again)
		if err != nil {
			t.Fatalf("parse %s again: %v", again, err)
		}
		if diff := cmp.Diff(file, second, cmp.Transformer("text", func(f component.File) string { return asJSON(t, f) })); diff != "" {
			t.Fatalf("parsed again (-first +second):\n%s", diff)
		}
		_ = file.Resolve("/current")
	})
}

func asJSON(t *testing.T, f component.File) string {
	t.Helper()
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
