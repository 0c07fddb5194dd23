import "../rings.css";
import "./rollout.css";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Commands } from "../commands";
import type { Arm, Decision, Rollout, RolloutSeries, SeriesPoint } from "../api";
import { api } from "../client";
import { useCurrent } from "../current";
import { Played } from "../forecast";
import { count, digest, evidence, list, sentence, share, span, whole, words } from "../format";
import * as links from "../links";
import { line, useLive } from "../live";
import { useList, useLoad } from "../load";
import { clock } from "../now";
import type { PageProps } from "../pages";
import { RingRows } from "../rings";
import { setQuery, type ParamsOf } from "../router";
import {
  AlarmBadge, announce, Badge, Chart, Code, Empty, Failed, Figure, Figures, Gauge, Icon, Num, Old, OutcomeBadge, Page, PhaseBadge, Section, Select, Shown, Since, Table, When, type Tone,
} from "../ui";
import { VerdictBadge } from "../verdict";
import { waits } from "../waiting";

/** RolloutPage shows one rollout as it goes on, why it waits, and what can be done to it. */
export default function RolloutPage({ params, query }: PageProps<ParamsOf<"/rollouts/:id">>) {
  const { id } = params;
  const now = useCurrent(`rollout:${id}`, (signal) => api.get("/api/v1/rollouts/{id}", { path: { id }, signal }));
  const r = now.value;
  useLive(`timeline:${id}`); // from the beginning: the stream need not be opened again for it
  useSpoken(r);
  if (now.gone !== undefined) {
    return <Page title={`Rollout ${id}`}><Empty title={`There is no rollout ${id}`}>{now.gone ? sentence(now.gone) : null} <a href="/rollouts">Look at all rollouts</a>.</Empty></Page>;
  }
  return (
    <Page title={r ? `${r.component} ${r.version}` : `Rollout ${id}`} heading={r ? <>{r.component} {r.version} <PhaseBadge phase={r.phase} />{r.emergency ? <Badge tone="amber">emergency</Badge> : null}</> : undefined}
      lead={r ? <Lead r={r} /> : undefined} actions={r ? <Commands r={r} /> : undefined}>
      {r && now.stale !== undefined ? <Old why={`this is of a while ago: ${now.stale}`} /> : null}
      <Shown of={now} what={`rollout ${id}`}>{(x) => <Everything r={x} query={query} />}</Shown>
    </Page>
  );
}

/** useSpoken tells a screen reader what changes: the phase, the ring, harm. */
function useSpoken(r: Rollout | undefined): void {
  const before = useRef<Rollout | undefined>(undefined);
  useEffect(() => {
    const was = before.current;
    before.current = r;
    if (!r || !was || was.id !== r.id) return;
    if (was.phase !== r.phase) announce(`${r.component} ${r.version} is ${words(r.phase)}`);
    else if (r.harmed > was.harmed) announce(`${count(r.harmed, "host")} harmed`);
    else if (r.ring !== was.ring) announce(`ring ${r.rings[r.ring]?.name ?? ""} is open`);
    else if (r.alarm !== was.alarm) announce(`the breaker is ${r.alarm}`);
  }, [r?.phase, r?.harmed, r?.ring, r?.alarm, r?.id]);
}

function Lead({ r }: { r: Rollout }) {
  return (
    <>
      <Code text={r.id} what="the rollout's id" />
      <span>plan <a href={links.plan(r.plan)}>{r.plan}</a></span>
      <span><a href={links.release(r.component, r.version)}>release</a> <code title={r.manifest}>{digest(r.manifest)}</code></span>
      <span>{r.phase === "proposed" ? "asked for" : "started"} <When at={r.started} /></span>
      <span>{r.ended ? <>ended <When at={r.ended} /> after <Since from={r.started} until={r.ended} /></> : <>for <Since from={r.started} /></>}</span>
      {r.approved && r.approved.length > 0 ? <span>by {list(r.approved)}</span> : null}
    </>
  );
}

function toneOf(r: Rollout): Tone {
  if (r.phase === "tripped" || r.alarm === "trip") return "harm";
  if (r.phase === "halted" || r.phase === "rolled_back") return "idle";
  if (r.alarm === "amber" || r.phase === "paused" || r.phase === "proposed") return "amber";
  return r.phase === "complete" ? "good" : r.phase === "running" ? "busy" : "idle";
}

function Everything({ r, query }: { r: Rollout; query: URLSearchParams }) {
  const course = useCourse(r);
  return (
    <>
      <p class={`rollout-why ${toneOf(r)}`}>
        <Icon shape={toneOf(r)} /> {waits(r)}
        {r.incident ? <span class="small">It opened an incident: <a href={links.incident(r.incident)}>{r.incident}</a>.</span> : null}
      </p>
      <Figures label="Hosts of this rollout">
        <Figure name="Exposed" value={r.exposed} of={r.eligible} href={links.leases(r.id)} note={share(r.exposed, r.eligible)} />
        <Figure name="Confirmed" value={r.confirmed} href={links.leases(r.id, "confirmed")} />
        <Figure name="Under way" value={r.unconfirmed} href={links.leases(r.id, "pending")} note={r.phase === "running" ? `${whole(r.window)} may be` : undefined} />
        <Figure name="Harmed" value={r.harmed} href={links.leases(r.id, "harmed")} tone={r.harmed > 0 ? "harm" : undefined} note={r.first_harm ? <>first <When at={r.first_harm} form="ago" quiet /></> : undefined} />
        <Figure name="Recovered" value={r.recovered} href={r.recovered > 0 ? links.leases(r.id, "harmed") : undefined} note="harmed, and well again" />
        <Figure name="Returned" value={r.returned} href={r.returned > 0 ? links.leases(r.id) : undefined} note="unharmed, and went back" />
      </Figures>
      <Section title="Rings" aside="few before many"><RingRows rollout={r} /></Section>
      <div class="grid">
        <Breaker r={r} course={course.value} failure={course} />
        <Section title="Exposure and harm"><Shown of={course} what="the course">{(s) => <Exposure s={s} />}</Shown></Section>
        <Missing r={r} />
        <Against r={r} />
        {r.suspects && r.suspects.length > 0 ? <Suspects r={r} /> : null}
        {r.strata && r.strata.length > 0 ? <Strata r={r} /> : null}
        <Holds r={r} />
        {r.unfit ? <Unfit r={r} /> : null}
        {r.cells && r.cells.length > 0 ? <Cells r={r} /> : null}
        <Cost r={r} />
      </div>
      <Timeline r={r} />
      <Hosts r={r} query={query} />
    </>
  );
}

// The course: what is stored, and what comes live after it.

const least = 2000; // milliseconds between two live points
const most = 600;

function useCourse(r: Rollout): { value: RolloutSeries | undefined; failure: ReturnType<typeof useLoad>["failure"]; again: () => void } {
  const loaded = useLoad(`series ${r.id}`, (signal) => api.get("/api/v1/rollouts/{id}/series", { path: { id: r.id }, signal }));
  const [live, add] = useState<{ of: string; points: SeriesPoint[] }>({ of: r.id, points: [] });
  useEffect(() => {
    const at = clock();
    add((before) => {
      const points = before.of === r.id ? before.points : [];
      const last = points[points.length - 1];
      if (last && (last.revision === r.revision || at - Date.parse(last.at) < least)) return before;
      const point: SeriesPoint = { revision: r.revision, at: new Date(at).toISOString(), ring: r.ring, exposed: r.exposed, unconfirmed: r.unconfirmed, harmed: r.harmed, evidence: r.evidence, alarm: r.alarm };
      return { of: r.id, points: [...points, point].slice(-most) };
    });
  }, [r.id, r.revision]);
  const value = useMemo((): RolloutSeries | undefined => {
    if (!loaded.value) return undefined;
    const stored = loaded.value.points ?? [];
    const last = stored[stored.length - 1]?.revision ?? -1;
    return { ...loaded.value, points: r.ended ? stored : [...stored, ...live.points.filter((p) => p.revision > last)] };
  }, [loaded.value, live, r.ended]);
  return { value, failure: loaded.failure, again: loaded.again };
}

function Breaker({ r, course, failure }: { r: Rollout; course: RolloutSeries | undefined; failure: ReturnType<typeof useCourse> }) {
  const drawn = useMemo(() => course && {
    times: course.points.map((p) => Date.parse(p.at)),
    series: [{ name: "E", values: course.points.map((p) => p.evidence), kind: "busy" as const, step: true }],
  }, [course]);
  return (
    <Section title="Evidence of harm" aside={<AlarmBadge alarm={r.alarm} />}>
      <Gauge value={r.evidence} amber={r.amber} trip={r.trip} alarm={r.alarm} />
      {r.doubt !== r.evidence ? <p class="small soft">Without what has a harmless explanation: {evidence(r.doubt)}. Amber goes by that.</p> : null}
      {drawn ? (
        <Chart title="E over time" times={drawn.times} series={drawn.series} log write={evidence} note={course?.sampled ? "A part of the decisions: there are more." : ""}
          lines={[{ at: r.amber, name: "amber", kind: "amber" }, { at: r.trip, name: "trip", kind: "harm" }]} />
      ) : <Shown of={failure} what="the course">{() => null}</Shown>}
    </Section>
  );
}

function Exposure({ s }: { s: RolloutSeries }) {
  const drawn = useMemo(() => ({
    times: s.points.map((p) => Date.parse(p.at)),
    series: [
      { name: "exposed", values: s.points.map((p) => p.exposed), kind: "busy" as const, step: true, fill: true },
      { name: "under way", values: s.points.map((p) => p.unconfirmed), kind: "idle" as const, step: true },
      { name: "harmed", values: s.points.map((p) => p.harmed), kind: "harm" as const, step: true },
    ],
  }), [s]);
  return <Chart title="Hosts over time" times={drawn.times} series={drawn.series} write={whole} />;
}

function Missing({ r }: { r: Rollout }) {
  const ring = r.rings[r.ring]?.name ?? "";
  const over = r.phase !== "running" && r.phase !== "paused";
  return (
    <Section title="Evidence still missing" aside={over ? undefined : `ring ${ring}`}>
      <Table label={`Evidence that ring ${ring} lacks`} rows={over ? [] : r.missing ?? []} id={(l) => l.name}
        empty={<p class="soft">{over ? "No ring is open." : <><Icon shape="good" /> Ring {ring} has shown all that it must.</>}</p>}
        columns={[
          { head: "What", lead: true, cell: (l) => words(l.name) }, { head: "Have", end: true, cell: (l) => <span class="nums">{l.have}</span> },
          { head: "Need", end: true, cell: (l) => <span class="nums">{l.need}</span> },
        ]} />
    </Section>
  );
}

function Against({ r }: { r: Rollout }) {
  const of = (harmed: number, all: number): string => `${whole(harmed)} of ${whole(all)} (${share(harmed, all)})`;
  const columns = [
    { head: "Signal", lead: true, cell: (a: Arm) => words(a.name) },
    { head: "Exposed hosts", end: true, cell: (a: Arm) => of(a.exposed_harmed, a.exposed) },
    { head: "Controls", end: true, cell: (a: Arm) => of(a.controls_harmed, a.controls) },
    { head: "E", end: true, cell: (a: Arm) => evidence(a.evidence) },
  ];
  return (
    <Section title="Exposed against controls" aside="the same minutes, the same class">
      <Table label="Exposed hosts against controls" rows={r.arms ?? []} id={(a) => a.name} columns={columns}
        empty={<p class="soft">Nothing has been compared yet: the first watch of exposed hosts and controls must end.</p>} />
    </Section>
  );
}

function Suspects({ r }: { r: Rollout }) {
  return (
    <Section title="What the harmed hosts share">
      <Table label="Attributes that the harmed hosts share" rows={r.suspects ?? []} id={(s) => s.key + "=" + s.value} empty="" columns={[
        { head: "Attribute", lead: true, cell: (s) => <a class="long" href={links.hosts({ select: [`${s.key}=${s.value}`] })}><code>{s.key}={s.value}</code></a> },
        { head: "Harmed with it", end: true, cell: (s) => `${whole(s.harmed)} of ${whole(s.exposed)}` },
        { head: "Harmed without", end: true, cell: (s) => `${whole(s.harmed_elsewhere)} of ${whole(s.exposed_elsewhere)}` },
      ]} />
    </Section>
  );
}

function Strata({ r }: { r: Rollout }) {
  return (
    <Section title="Strata in trouble" aside="the worst first">
      <Table label="Strata in trouble" rows={r.strata ?? []} id={(s) => s.name} empty="" columns={[
        { head: "Stratum", lead: true, cell: (s) => <code class="long">{s.name}</code> },
        { head: "State", cell: (s) => (s.held ? <Badge tone="amber" shape="stopped">held</Badge> : s.suspect ? <Badge tone="amber">suspicious</Badge> : <Badge tone="idle">watched</Badge>) },
        { head: "Harmed", end: true, cell: (s) => <span class={s.harmed > 0 ? "ink-harm" : ""}>{whole(s.harmed)} of {whole(s.leased)}</span> },
        { head: "E", end: true, cell: (s) => evidence(s.evidence) },
      ]} />
    </Section>
  );
}

function Holds({ r }: { r: Rollout }) {
  return (
    <Section title="Holds">
      <Table label="Holds" rows={r.holds ?? []} id={(h) => h.text + h.at} empty={<p class="soft">None: nobody is kept from it.</p>} columns={[
        { head: "Hosts", lead: true, cell: (h) => <a class="long" href={links.hosts({ select: Object.entries(h.select).flatMap(([k, v]) => v.map((x) => `${k}=${x}`)) })}><code>{h.text}</code></a> },
        { head: "Why", cell: (h) => <span class="long">{h.reason || "no reason given"}<br /><span class="soft small">{h.by}, <When at={h.at} form="ago" quiet /></span></span> },
        { head: "Undo", cell: (h) => <Commands r={r} lift={h} /> },
      ]} />
    </Section>
  );
}

function Unfit({ r }: { r: Rollout }) {
  const u = r.unfit!;
  return (
    <Section title="Unfit hosts" aside={count(u.hosts, "host")}>
      <p>{u.hosts === 1 ? "One host does" : `${whole(u.hosts)} hosts do`} not get it: {u.hosts === 1 ? "it lacks" : "they lack"} posture that the plan asks for.</p>
      <Table label="Posture that is missing" rows={Object.entries(u.lacks).sort(([, a], [, b]) => b - a)} id={([w]) => w} empty="" columns={[
        { head: "Word", lead: true, cell: ([w]) => <code>{w}</code> }, { head: "Hosts without it", end: true, cell: ([w, n]) => <Num value={n} href={links.hosts({ component: r.component, lacks: w })} label={`hosts without ${w}`} /> },
      ]} />
    </Section>
  );
}

function Cells({ r }: { r: Rollout }) {
  return (
    <Section title="Other cells" aside={r.cell ? `this one is ${r.cell}, wave ${r.wave}` : undefined}>
      <Table label="Other cells" rows={r.cells ?? []} id={(c) => c.name} empty="" columns={[
        { head: "Cell", lead: true, cell: (c) => c.name }, { head: "Wave", end: true, cell: (c) => c.wave },
        { head: "There", cell: (c) => (c.lost ? <Badge tone="amber">not heard</Badge> : c.phase ? <PhaseBadge phase={c.phase} /> : <span class="soft">not begun</span>) },
        { head: "Note", cell: (c) => <span class="long small">{c.lost ? <>{c.lost}{c.since ? <>, since <When at={c.since} form="ago" quiet /></> : null}</> : c.held ? `has held for ${span(c.held * 1000)}` : c.alarm && c.alarm !== "quiet" ? `breaker ${c.alarm}` : ""}</span> },
      ]} />
    </Section>
  );
}

function Cost({ r }: { r: Rollout }) {
  const [wanted, want] = useState(false);
  const f = useLoad(wanted ? `forecast ${r.id}` : null, (signal) => api.get("/api/v1/rollouts/{id}/forecast", { path: { id: r.id }, signal, timeout: 60_000 }));
  return (
    <Section title="What a bad release would cost">
      {!wanted ? (
        <><p class="soft">The simulator plays releases that harm hosts under plan {r.plan}, on a fleet like this one.</p><button type="button" onClick={() => want(true)}>Predict it</button></>
      ) : (
        <Shown of={f} what="the forecast">{(v) => <Played forecast={v} />}</Shown>
      )}
    </Section>
  );
}

// The timeline.

function Timeline({ r }: { r: Rollout }) {
  const live = useLive(`timeline:${r.id}`);
  const [older, want] = useState(false);
  const needs = older || (live.value === undefined && (live.gone !== undefined || line.value.state === "reconnecting"));
  const stored = useList<Decision>(needs ? `timeline ${r.id}` : null, (after, signal) => api.get("/api/v1/rollouts/{id}/timeline", { path: { id: r.id }, query: { limit: 200, ...(after ? { after } : {}) }, signal }));
  const all = useMemo(() => {
    const byRevision = new Map<number, Decision>();
    for (const d of [...stored.items, ...Object.values(live.value ?? {})]) byRevision.set(d.revision, d);
    return [...byRevision.values()].sort((a, b) => b.revision - a.revision);
  }, [live.value, stored.items.length]);
  const more = needs ? stored.next !== undefined : Object.keys(live.value ?? {}).length >= 200;
  return (
    <Section title="Timeline" aside="newest first, with the stored reasons" wide>
      {all.length === 0 ? (live.value || (needs && !stored.loading && !stored.failure) ? <p class="soft">Nothing has been decided yet.</p> : stored.failure ? null : <p class="soft">Loading the timeline…</p>) : (
        <ol class="rollout-timeline">{all.map((d) => <Entry key={d.revision} d={d} />)}</ol>
      )}
      {stored.failure ? <Failed failure={stored.failure} what="Cannot show older decisions" again={stored.again} /> : null}
      {more ? <p class="more"><button type="button" disabled={needs && stored.loading} onClick={() => (needs ? stored.more() : want(true))}>{needs && stored.loading ? "Loading…" : "Older decisions"}</button></p> : null}
    </Section>
  );
}

function Entry({ d }: { d: Decision }) {
  const records = d.records && d.records.length > 0 ? d.records : undefined;
  const numbers = records?.[records.length - 1];
  return (
    <li>
      <When at={d.at} quiet />
      <span>{records ? records.map((x, i) => <VerdictBadge key={i} verdict={x.verdict} />) : <Badge tone="idle">{words(d.event)}</Badge>}</span>
      <span class="long">
        {records ? records.map((x, i) => <div key={i}>{x.reason}</div>) : words(d.event)}
        {numbers ? <span class="soft small">{count(numbers.exposed, "host")} exposed, {whole(numbers.unconfirmed)} under way, {whole(numbers.harmed)} harmed, E {evidence(numbers.evidence)}</span> : null}
      </span>
      <details><summary>event {d.revision}: {words(d.event)}</summary><pre tabIndex={0}>{JSON.stringify(d.data, null, 1)}</pre></details>
    </li>
  );
}

// The hosts.

const outcomes = ["any", "harmed", "pending", "confirmed", "crashed", "reverted", "silent", "late", "goodbye", "rejected"] as const;
type Outcome = Exclude<(typeof outcomes)[number], "any">;

function Hosts({ r, query }: { r: Rollout; query: URLSearchParams }) {
  const wanted = query.get("outcome");
  const ring = query.get("ring") === null ? undefined : Number(query.get("ring"));
  const section = useRef<HTMLDivElement>(null);
  const outcome = outcomes.find((o): o is Outcome => o === wanted && o !== "any");
  const found = useList(wanted ? `leases ${r.id} ${outcome ?? ""}` : null, (after, signal) =>
    api.get("/api/v1/rollouts/{id}/leases", { path: { id: r.id }, query: { limit: 200, ...(outcome ? { outcome } : {}), ...(after ? { after } : {}) }, signal }));
  useEffect(() => { if (wanted) section.current?.scrollIntoView({ block: "start" }); }, [wanted, ring]);
  const rows = found.items.filter((l) => ring === undefined || l.ring === ring);
  // The API does not pick by ring: those of a ring are sought page by page for a while.
  useEffect(() => {
    if (ring !== undefined && rows.length < 20 && found.next && !found.loading && !found.failure && found.items.length < 5000) found.more();
  }, [ring, rows.length, found.next, found.loading, found.items.length]);
  return (
    <div ref={section}>
      <Section title="Hosts" aside={wanted ? undefined : "who got a lease, and what became of it"} wide>
        {!wanted ? <button type="button" onClick={() => setQuery({ outcome: "any" })}>Show the hosts</button> : (
          <>
            <div class="filters">
              <Select label="Outcome" value={wanted} onValue={(v) => setQuery({ outcome: v })} options={outcomes.map((o) => [o, o === "pending" ? "under way" : o] as const)} />
              <Select label="Ring" value={ring === undefined ? "" : String(ring)} onValue={(v) => setQuery({ ring: v })} options={[["", "any"], ...r.rings.map((x, i) => [String(i), x.name] as const)]} />
              <span class="soft small">{rows.length < found.items.length ? `${whole(rows.length)} among the ${count(found.items.length, "lease")} looked at${found.next ? "; there are more" : ""}` : ""}</span>
            </div>
            <Table label="Hosts with a lease" rows={rows} id={(l) => l.endpoint} list={{ ...found, loading: found.loading }} noun={["host", "hosts"]}
              empty={<Empty title={wanted === "any" ? "No host got a lease yet" : `No host is ${wanted === "pending" ? "under way" : wanted}`} />} columns={[
                { head: "Host", lead: true, cell: (l) => <a class="long" href={links.endpoint(l.endpoint)}>{l.endpoint}</a> },
                { head: "Outcome", cell: (l) => <OutcomeBadge outcome={l.outcome} /> },
                { head: "Ring", cell: (l) => r.rings[l.ring]?.name ?? l.ring },
                { head: "Site", cell: (l) => l.site ?? "" },
                { head: "Lease", cell: (l) => <When at={l.issued} quiet /> },
                { head: "Known", cell: (l) => (l.known ? <When at={l.known} quiet /> : <span class="soft">by <When at={l.deadline} quiet /></span>) },
                { head: "Detail", cell: (l) => <span class="long small">{l.detail ?? ""}{l.recovered ? <> recovered <When at={l.recovered} quiet /></> : null}</span> },
              ]} />
          </>
        )}
      </Section>
    </div>
  );
}

