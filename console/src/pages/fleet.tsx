import "./fleet.css";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Endpoint, EndpointPage, FleetHistory, FleetState } from "../api";
import { api } from "../client";
import { useEvery } from "../every";
import { compact, count, share, whole } from "../format";
import { Heard, InstallBadge, PostureBadge } from "../host";
import { asked, isEmpty, readPairs, readSearch, rounded, said, strata, type HostSearch } from "../hostsearch";
import * as links from "../links";
import { useDebounced, useList, useLoad } from "../load";
import { clock } from "../now";
import type { PageProps } from "../pages";
import { postures, vital, words as postureWords } from "../posture";
import { setQuery } from "../router";
import { versions } from "../versions";
import { Badge, Chart, Code, Empty, Failed, Field, Figure, Figures, Icon, Loading, Meter, Num, Old, Page, Section, Select, Shown, Table, When } from "../ui";

const pace = 5000; // milliseconds between two counts

/** FleetPage finds hosts, and says what the fleet is. */
export default function FleetPage({ query }: PageProps) {
  const counted = useLoad("fleet state", (signal) => api.get("/api/v1/fleet/state", { signal }));
  useEvery(counted.loading ? null : pace, counted.again);
  const fleet = counted.value;
  return (
    <Page title="Fleet" lead="Every host that has joined: what it runs, when it was heard, whether it could survive alone.">
      {fleet && counted.failure ? <Old why={counted.failure.detail}>The counts are as of <When at={fleet.at} />.</Old> : null}
      {fleet ? <Counts fleet={fleet} /> : counted.failure ? <Failed failure={counted.failure} what="Cannot count the fleet" again={counted.again} /> : <Loading what="the counts" />}
      {fleet?.endpoints === 0 ? <Join /> : (
        <>
          <Hosts query={query} fleet={fleet} />
          {fleet ? <Made of={fleet} /> : null}
        </>
      )}
    </Page>
  );
}

function Counts({ fleet }: { fleet: FleetState }) {
  const est = fleet.estimated;
  return (
    <Figures label="The fleet">
      <Figure name="Endpoints" value={fleet.endpoints} href={links.hosts()} estimated={est} />
      <Figure name="Heard" value={fleet.heard} note={fleet.endpoints > 0 ? `${share(fleet.heard, fleet.endpoints)}, in 15 min` : "in the last 15 min"} estimated={est} />
      <Figure name="Silent" value={fleet.silent} href={links.hosts({ silent: 15 })} note="for 15 min or more" tone={fleet.silent > fleet.endpoints * 0.05 ? "amber" : undefined} estimated={est} />
      <Figure name="At risk" value={fleet.at_risk} href={links.hosts({ at_risk: true })} note="a boot loop needs hands" tone={fleet.at_risk > 0 ? "amber" : undefined} estimated={est} />
      <Figure name="Refusing" value={fleet.refusing} href={links.hosts({ refusing: true })} note="keep a release in quarantine" estimated={est} />
    </Figures>
  );
}

/** Join says how the first host joins. */
function Join() {
  const status = useLoad("status", (signal) => api.get("/api/v1/status", { signal }));
  const make = "firebreak token create --kind join --uses 10";
  return (
    <Empty title="No endpoint has joined yet">
      <div class="fleet-join">
        <span>Make a token for joining, where you have the command line of the control plane:</span>
        <Code text={make} what="the command" />
        <Shown of={status} what="where hosts join">{(s) => {
          const join = `firebreak-agent join --server ${s.agent_url} --token fb_join_… --ca-fingerprint ${s.ca_fingerprint}`;
          return <><span>Then, on each host that has the agent, with the token that was printed:</span><Code text={join} what="the command" /><span>The host shows up here by itself.</span></>;
        }}</Shown>
      </div>
    </Empty>
  );
}

// The search.

const silences: readonly (readonly [string, string])[] = [["", "any time"], ["15", "not for 15 min"], ["60", "not for 1 h"], ["360", "not for 6 h"], ["1440", "not for 1 d"], ["10080", "not for 7 d"]];

function Hosts({ query, fleet }: { query: URLSearchParams; fleet: FleetState | undefined }) {
  const typed = readSearch(query);
  const now = JSON.parse(useDebounced(JSON.stringify(typed))) as HostSearch;
  const key = JSON.stringify(now);
  const ask = useMemo(() => asked(now, clock()), [key]);
  const found = useList<Endpoint>(`hosts ${key}`, (after, signal) => api.get("/api/v1/endpoints", { query: { ...ask, limit: 20, ...(after ? { after } : {}) }, signal }));
  return (
    <Section title="Hosts" aside={<>the fleet by <a href="#versions">version</a>, <a href="#posture-that-hosts-lack">posture</a>, <a href="#classes">class</a>, <a href="#sites">site</a>, <a href="#strata">stratum</a></>} wide>
      <Filters s={typed} fleet={fleet} find={query.has("find")} />
      <Found s={now} page={found.first as EndpointPage | undefined} fleet={fleet} />
      <HostTable s={now} found={found} />
    </Section>
  );
}

const clean = { prefix: "", select: "", component: "", version: "", silent: "", lacks: "", refusing: "", at_risk: "", find: "" };

function Filters({ s, fleet, find }: { s: HostSearch; fleet: FleetState | undefined; find: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!find) return;
    const timer = setTimeout(() => { box.current?.querySelector<HTMLElement>("[data-search]")?.focus(); setQuery({ find: "" }); });
    return () => clearTimeout(timer);
  }, [find]);
  const components = [...new Set((fleet?.versions ?? []).map((v) => v.component))];
  const known = (fleet?.versions ?? []).filter((v) => v.component === s.component && v.version);
  const silent = s.silent === 0 ? "" : String(s.silent);
  const spans = silences.some(([v]) => v === silent) ? silences : [...silences, [silent, `not for ${s.silent} min`] as const];
  const lacks: (readonly [string, string])[] = [["", "anything"], ...postureWords.map((w) => [w, w] as const)];
  for (const w of s.lacks) if (!lacks.some(([known]) => known === w)) lacks.push([w, w]);
  return (
    <div ref={box} role="search" aria-label="Hosts">
      <div class="filters">
        <Field label="Id begins with" type="search" search value={s.prefix} onValue={(v) => setQuery({ prefix: v.trim() })} />
        <Select label="Component" value={s.component} onValue={(v) => setQuery({ component: v, version: "" })}
          options={[["", "any"], ...[...new Set([...components, ...(s.component ? [s.component] : [])])].map((c) => [c, c] as const)]} />
        <Field label="Version" type="search" list="fleet-versions" value={s.version} disabled={s.component === ""} placeholder={s.component === "" ? "of a component" : "any"} onValue={(v) => setQuery({ version: v.trim() })} />
        <datalist id="fleet-versions">{known.map((v) => <option key={v.version} value={v.version} />)}</datalist>
        <Select label="Heard" value={silent} onValue={(v) => setQuery({ silent: v })} options={spans} />
        <Select label="Lacks" value={s.lacks[0] ?? ""} onValue={(v) => setQuery({ lacks: v })} options={lacks} />
        <Attribute select={s.select} />
        <fieldset class="fleet-flags">
          <legend class="hidden">Only hosts that are</legend>
          <label><input type="checkbox" checked={s.at_risk} onChange={(e) => setQuery({ at_risk: e.currentTarget.checked })} /> at risk</label>
          <label><input type="checkbox" checked={s.refusing} onChange={(e) => setQuery({ refusing: e.currentTarget.checked })} /> refusing</label>
        </fieldset>
      </div>
      <Picks s={s} />
    </div>
  );
}

/** Attribute adds key=value pairs to the search. */
function Attribute({ select }: { select: readonly string[] }) {
  const [text, set] = useState("");
  const [wrong, complain] = useState<string>();
  const add = (e: Event): void => {
    e.preventDefault();
    const { pairs, wrong: mistake } = readPairs(text);
    complain(mistake);
    if (mistake || pairs.length === 0) return;
    setQuery({ select: [...new Set([...select, ...pairs])] });
    set("");
  };
  return (
    <form class="fleet-attribute" onSubmit={add}>
      <Field label="Attribute" value={text} wrong={wrong} placeholder="site=graz" maxLength={500} onValue={(v) => { set(v); complain(undefined); }} list="fleet-keys" />
      <datalist id="fleet-keys">{["os=", "version=", "kernel=", "arch=", "class=", "region=", "site=", "tenant=", "consumer=", "label."].map((k) => <option key={k} value={k} />)}</datalist>
      <button type="submit" disabled={text.trim() === ""}>Add<span class="hidden"> the attribute to the search</span></button>
    </form>
  );
}

/** Picks are the pairs of the search, each with a button that takes it out, and one for all. */
function Picks({ s }: { s: HostSearch }) {
  if (isEmpty(s)) return null;
  return (
    <ul class="fleet-picks" aria-label="Attributes that are looked for">
      {s.select.map((pair) => (
        <li key={pair} class="fleet-pick"><code>{pair}</code><button type="button" class="bare" aria-label={`Do not look for ${pair}`} onClick={() => setQuery({ select: s.select.filter((p) => p !== pair) })}><Icon shape="close" /></button></li>
      ))}
      <li><button type="button" class="bare" onClick={() => setQuery(clean)}>All hosts</button></li>
    </ul>
  );
}

/** Found says how many there are, honestly. */
function Found({ s, page, fleet }: { s: HostSearch; page: EndpointPage | undefined; fleet: FleetState | undefined }) {
  if (isEmpty(s)) return <p class="fleet-found soft" role="status">{fleet ? <>All {fleet.estimated ? "about " : ""}{count(rounded(fleet.endpoints, fleet.estimated), "endpoint")}, by id.</> : "All endpoints, by id."}</p>;
  const n = page?.count;
  return (
    <p class="fleet-found" role="status">
      {n === undefined || n === null ? <span class="soft">Looking for hosts {said(s)}…</span> : (
        <><b class="nums">{page?.estimated ? "About " : ""}{whole(rounded(n, page?.estimated))}</b> {n === 1 ? "host" : "hosts"} {said(s, n === 1)}{page?.estimated ? <span class="soft"> (an estimate: counting all would take too long)</span> : null}, in the order in which they joined.</>
      )}
    </p>
  );
}

function HostTable({ s, found }: { s: HostSearch; found: ReturnType<typeof useList<Endpoint>> }) {
  const of = s.component;
  const nothing = <Empty title={`There are no hosts ${said(s)}`}><button type="button" class="bare" onClick={() => setQuery(clean)}>Show all hosts</button></Empty>;
  return (
    <Table label="Hosts" rows={found.items} id={(e) => e.id} list={found} noun={["host", "hosts"]} empty={nothing} columns={[
      { head: "Host", lead: true, cell: (e) => <><a class="long" href={links.endpoint(e.id)}>{e.id}</a>{e.revoked ? <> <Badge tone="harm" shape="stopped">revoked</Badge></> : null}<br /><span class="fleet-what soft small long">{whatItIs(e)}</span></> },
      { head: "Tenant", cell: (e) => <a class="long" href={links.hosts({ select: [`tenant=${e.tenant}`] })}>{e.tenant}</a> },
      { head: "Runs", cell: (e) => <Runs e={e} of={of} /> },
      { head: "Phase", cell: (e) => <Phases e={e} of={of} /> },
      { head: "Heard", cell: (e) => <Heard of={e} quiet /> },
      { head: "Posture", cell: (e) => <PostureBadge of={e.posture} /> },
    ]} />
  );
}

/** whatItIs is a host's attributes in a line. */
const whatItIs = ({ attributes: a }: Endpoint): string => [a.class, [a.os, a.version].filter(Boolean).join(" "), a.arch, a.site].filter(Boolean).join(" · ");

const shown = 2; // components of a row

function Runs({ e, of }: { e: Endpoint; of: string }) {
  const all = Object.entries(e.components ?? {}).filter(([name]) => of === "" || name === of);
  if (all.length === 0) return <span class="soft">nothing yet</span>;
  return (
    <ul class="fleet-runs">
      {all.slice(0, shown).map(([name, c]) => (
        <li key={name} class="long">{name} {c.version ? <a href={links.release(name, c.version)}>{c.version}</a> : <span class="soft">none</span>}
          {(c.refuses ?? []).length > 0 ? <span class="ink-amber small"> <Icon shape="stopped" /> refuses {count(c.refuses!.length, "release")}</span> : null}</li>
      ))}
      {all.length > shown ? <li class="soft small">and {all.length - shown} more</li> : null}
    </ul>
  );
}

function Phases({ e, of }: { e: Endpoint; of: string }) {
  const all = Object.entries(e.components ?? {}).filter(([name]) => of === "" || name === of);
  const busy = all.filter(([, c]) => c.phase !== "idle");
  const first = busy[0] ?? all[0];
  return first ? <>{<InstallBadge of={first[1]} />}{busy.length > 0 && all.length > 1 ? <span class="soft small"> {first[0]}{busy.length > 1 ? ` and ${busy.length - 1} more` : ""}</span> : null}</> : null;
}

// What the fleet is made of.

function Made({ of }: { of: FleetState }) {
  return (
    <div class="grid">
      <Versions fleet={of} />
      <Section title="Posture that hosts lack" aside={<a href={links.hosts({ at_risk: true })}>{count(of.at_risk, "host")} at risk</a>}><Lacks fleet={of} /></Section>
      <div>
        <Section title="Classes"><Shares of={of.classes} all={of.endpoints} name="Class" attribute="class" /></Section>
        <Section title="Sites" aside="the 20 largest"><Shares of={of.sites} all={of.endpoints} name="Site" attribute="site" /></Section>
      </div>
      <Strata fleet={of} />
    </div>
  );
}

const bar = (part: number, all: number, heard: number | undefined, label: string) => (
  <span class="fleet-bar">
    <Meter label={label} of={all} parts={heard === undefined ? [{ kind: "busy", count: part, name: "hosts" }] : [{ kind: "good", count: heard, name: "heard" }, { kind: "idle", count: part - heard, name: "silent" }]} />
  </span>
);

function Shares({ of, all, name, attribute }: { of: { [name: string]: number } | undefined; all: number; name: string; attribute: string }) {
  const rows = Object.entries(of ?? {}).sort(([, a], [, b]) => b - a);
  return (
    <Table label={`Hosts by ${name.toLowerCase()}`} rows={rows} id={([v]) => v} empty={<p class="soft">No host says its {name.toLowerCase()}.</p>} columns={[
      { head: name, lead: true, cell: ([v]) => (v ? <a class="long" href={links.hosts({ select: [`${attribute}=${v}`] })}>{v}</a> : <span class="soft">not said</span>) },
      { head: "Share", cell: ([v, n]) => <>{bar(n, all, undefined, v || "not said")} <span class="soft small">{share(n, all)}</span></> },
      { head: "Hosts", end: true, cell: ([v, n]) => <Num value={n} href={v ? links.hosts({ select: [`${attribute}=${v}`] }) : undefined} label={`hosts of ${name.toLowerCase()} ${v}`} /> },
    ]} />
  );
}

function Lacks({ fleet }: { fleet: FleetState }) {
  const rows = Object.entries(fleet.lacks ?? {}).filter(([, n]) => n > 0).sort(([, a], [, b]) => b - a);
  const cure = (w: string): string => (postures as { [w: string]: { cure: string } | undefined })[w]?.cure ?? "";
  return (
    <Table label="Words of posture that hosts lack" rows={rows} id={([w]) => w} empty={<p class="soft"><Icon shape="good" /> No host lacks anything.</p>} columns={[
      { head: "Word", lead: true, cell: ([w]) => <><code>{w}</code>{vital.has(w) ? <span class="ink-amber small" title="A host without it is at risk."> <Icon shape="amber" /> vital</span> : null}</> },
      { head: "What helps", cell: ([w]) => <span class="small soft long">{cure(w)}</span> },
      { head: "Hosts", end: true, cell: ([w, n]) => <Num value={n} href={links.hosts({ lacks: w })} label={`hosts that lack ${w}`} /> },
    ]} />
  );
}

function Versions({ fleet }: { fleet: FleetState }) {
  const components = [...new Set(fleet.versions.map((v) => v.component))];
  const [chosen, choose] = useState("");
  const component = components.includes(chosen) ? chosen : components[0] ?? "";
  const history = useLoad(component ? `versions ${component} ${new Date(fleet.at).getHours()}` : null, (signal) => api.get("/api/v1/fleet/history", { query: { component }, signal }));
  const rows = fleet.versions.filter((v) => v.component === component);
  const all = rows.reduce((n, v) => n + v.hosts, 0);
  return (
    <Section title="Versions" aside="24 h, and now" wide>
      {components.length === 0 ? <p class="soft">No host has said yet what it runs.</p> : (
        <>
          {components.length > 1 ? <div class="filters"><Select label="Component" value={component} onValue={choose} options={components.map((c) => [c, c] as const)} /></div> : null}
          <div class="grid">
            <Shown of={history} what="the history">{(h) => <VersionChart h={h} component={component} />}</Shown>
            <Table label={`Versions of ${component} now`} rows={rows} id={(v) => `${v.version ?? ""} ${v.summed ?? 0}`} empty="No host has it." columns={[
              { head: component, lead: true, cell: (v) => (v.summed ? <span class="soft">{count(v.summed, "more version")}</span> : v.version ? <a class="long" href={links.release(component, v.version)}>{v.version}</a> : <span class="soft">none was ever activated</span>) },
              { head: "Share", cell: (v) => <>{bar(v.hosts, all, v.heard, `${component} ${v.version ?? "none"}`)} <span class="soft small">{share(v.hosts, all)}</span></> },
              { head: "Hosts", end: true, cell: (v) => <Num value={v.hosts} href={v.version && !v.summed ? links.hosts({ component, version: v.version }) : undefined} label={`hosts that run ${component} ${v.version ?? ""}`} /> },
              { head: "Heard", end: true, cell: (v) => whole(v.heard) },
            ]} />
          </div>
        </>
      )}
    </Section>
  );
}

function VersionChart({ h, component }: { h: FleetHistory; component: string }) {
  const { times, series } = useMemo(() => versions(h, component), [h, component]);
  return <Chart title={`Hosts by version of ${component}`} times={times} series={series} write={compact} />;
}

function Strata({ fleet }: { fleet: FleetState }) {
  const components = [...new Set(fleet.versions.map((v) => v.component))];
  const [chosen, choose] = useState<string>();
  const profile = useLoad(chosen === undefined ? null : `profile ${chosen}`, (signal) => api.get("/api/v1/fleet/profile", { query: chosen ? { component: chosen } : {}, signal }));
  return (
    <Section title="Strata" aside="OS build × consumer × kernel × class" wide>
      <p class="soft">A stratum is a slice of the fleet that may fail alone. Early rings see some of each.</p>
      <div class="filters">
        <Select label="Of the hosts that have" value={chosen ?? "…"} onValue={(v) => choose(v === "…" ? undefined : v)} options={[["…", "choose a component"], ...components.map((c) => [c, c] as const), ["", "anything"]]} />
      </div>
      {chosen === undefined ? null : (
        <Shown of={profile} what="the strata">{(p) => (
          <>
            <Table label="Strata" rows={strata(p)} id={(s) => s.name} empty={`No host ${chosen ? `has ${chosen}` : "has joined"}.`} columns={[
              { head: "Stratum: os / version / consumer / kernel / class", lead: true, cell: (s) => (s.select.length > 0 ? <a class="long" href={links.hosts({ select: s.select, ...(chosen ? { component: chosen } : {}) })}>{s.name}</a> : <span class="soft">{s.name}</span>) },
              { head: "Share", cell: (s) => <>{bar(s.hosts, p.hosts, s.heard, s.name)} <span class="soft small">{share(s.hosts, p.hosts)}</span></> },
              { head: "Hosts", end: true, cell: (s) => <Num value={s.hosts} href={s.select.length > 0 ? links.hosts({ select: s.select, ...(chosen ? { component: chosen } : {}) }) : undefined} label={`hosts of stratum ${s.name}`} /> },
              { head: "Heard", end: true, cell: (s) => whole(s.heard) },
            ]} />
            <p class="soft small">Counted <When at={p.taken} form="ago" quiet />.</p>
          </>
        )}</Shown>
      )}
    </Section>
  );
}
