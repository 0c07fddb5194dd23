import "./incident.css";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { BlastRadius, Incident, LeaseStatus, Moment, PostMortem, Reach, Rollout, RolloutSeries } from "../api";
import { levels, type Level } from "../blast";
import { api, fill } from "../client";
import { useEvery } from "../every";
import { are, count, evidence, sentence, share, whole, words } from "../format";
import { isSilent } from "../host";
import * as links from "../links";
import { useLive } from "../live";
import { useLoad } from "../load";
import { now } from "../now";
import type { PageProps } from "../pages";
import { setQuery, type ParamsOf } from "../router";
import { Badge, Chart, Code, Dialog, Empty, Facts, FormFailure, Icon, Num, OutcomeBadge, Page, PhaseBadge, Section, Select, Shown, Table, TextArea, toast, useSending, When } from "../ui";
import { VerdictBadge } from "../verdict";

const pace = 15_000; // milliseconds between two looks at an incident that goes on

/** IncidentPage tells a stranger which release was stopped, why, whom it harmed, and what they run now. */
export default function IncidentPage({ params, query }: PageProps<ParamsOf<"/incidents/:id">>) {
  const { id } = params;
  const written = useLoad(`incident ${id}`, (signal) => api.get("/api/v1/incidents/{id}/report", { path: { id }, signal, timeout: 60_000 }));
  const missing = written.failure?.status === 404;
  const stored = written.value;
  const i = stored?.incident;
  const settled = i?.closed !== undefined && stored!.blast_radius.recovered >= stored!.blast_radius.harmed;
  useEvery(missing || settled || written.loading ? null : pace, written.again);
  if (missing) {
    return <Page title={`Incident ${id}`}><Empty title={`There is no such incident: ${id}`}><a href="/incidents">Look at all incidents</a>.</Empty></Page>;
  }
  return (
    <Page title={i?.title ?? `Incident ${id}`} heading={i ? <>{i.title} {i.closed ? <Badge tone="idle" shape="good">closed</Badge> : <Badge tone="harm">open</Badge>}</> : undefined}
      lead={i ? <Lead i={i} /> : undefined} actions={i ? <Actions i={i} closed={written.again} /> : undefined}>
      <Shown of={written} what={`incident ${id}`}>{(p) => <Everything p={p} query={query} />}</Shown>
    </Page>
  );
}

function Lead({ i }: { i: Incident }) {
  return (
    <>
      <Code text={i.id} what="the incident's id" />
      <span>release <a href={links.release(i.component, i.version)}>{i.component} {i.version}</a></span>
      <span>rollout <a href={links.rollout(i.rollout)}>{i.rollout}</a></span>
      <span>opened <When at={i.opened} form="both" /></span>
      {i.closed ? <span>closed <When at={i.closed} /> by {i.closed_by || "somebody"}</span> : null}
    </>
  );
}

function Everything({ p, query }: { p: PostMortem; query: URLSearchParams }) {
  const i = p.incident;
  const live = useLive(`rollout:${i.rollout}`); // counts go on: harmed hosts recover, exposed ones return
  const r = live.value ?? i.summary;
  const blast = r ? { ...p.blast_radius, eligible: r.eligible, exposed: r.exposed, harmed: r.harmed, recovered: r.recovered, spared: Math.max(0, r.eligible - r.exposed) } : p.blast_radius;
  return (
    <>
      <What p={p} r={r} blast={blast} />
      <Section title="Blast radius" aside="each bar is the marked part of the one above it"><Blast of={blast} i={i} /></Section>
      <HarmedHosts i={i} harmed={blast.harmed} query={query} />
      <div class="grid">
        <div>
          <Suspects i={i} r={r} />
          <Crashes i={i} />
        </div>
        <Reached of={p.blast_radius} />
        {p.series ? <Course s={p.series} /> : null}
      </div>
      <Timeline of={p.timeline} omitted={p.omitted ?? 0} rollout={i.rollout} />
      <div class="grid">
        <Section title="Facts"><Facts of={p.facts.map((f) => [f.name, f.value] as const)} /></Section>
        <Section title="Questions for people">
          <p class="soft">What no record can answer. The export has them with room for the answers.</p>
          <ol class="incident-questions">{p.questions.map((q) => <li key={q}>{q}</li>)}</ol>
        </Section>
      </div>
    </>
  );
}

/** stopped says what became of the release, by the phase of its rollout. */
export function stopped(r: Rollout | undefined, i: { component: string; version: string }): string {
  const what = `${i.component} ${i.version}`;
  switch (r?.phase) {
    case "tripped": return `The breaker stopped ${what} by itself: nobody gets it any more, it must not run again anywhere, and hosts that had it go back.`;
    case "rolled_back": return `${what} was rolled back: nobody gets it any more, it must not run again anywhere, and hosts that had it go back.`;
    case "halted": return `${what} was halted: nobody gets it any more. Hosts that have it keep it.`;
    case "paused": return `${what} is paused: nobody new gets it for now.`;
    case "running": case "complete": return `${what} is held from the part of the fleet that it harms, which goes back. The rollout goes on elsewhere.`;
    default: return `${what} was stopped.`;
  }
}

function What({ p, r, blast }: { p: PostMortem; r: Rollout | undefined; blast: BlastRadius }) {
  const i = p.incident;
  const left = Math.max(0, blast.harmed - blast.recovered);
  const crash = i.crashes?.[0];
  return (
    <div class={`incident-what ${i.closed ? "closed" : ""}`}>
      <p><Icon shape={i.closed ? "good" : "harm"} /> {stopped(r, i)} {r ? <PhaseBadge phase={r.phase} /> : null}</p>
      {r?.reason ? <p><b>Why:</b> {sentence(r.reason)}{crash?.headline ? <> {crash.hosts === 1 ? "One host" : `${whole(crash.hosts)} hosts`} found: <code>{crash.headline}</code></> : null}</p> : null}
      <p>
        <b>Who:</b> of {count(blast.exposed, "exposed host")} {whole(blast.harmed)} {blast.harmed === 1 ? "was" : "were"} harmed.{" "}
        {blast.harmed === 0 ? null : left === 0 ? "All of them have recovered" : `${whole(blast.recovered)} of them ${blast.recovered === 1 ? "has" : "have"} recovered, ${whole(left)} not yet`}{blast.harmed > 0 ? <>; <a href="#harmed-hosts">what each runs now</a> is below.</> : null}
      </p>
      {i.note ? <p><b>Note:</b> {i.note}</p> : null}
      <p class="soft">{p.summary}</p>
    </div>
  );
}

// The picture.

function Blast({ of, i }: { of: BlastRadius; i: Incident }) {
  const to: { [name: string]: string | undefined } = {
    "hosts that it was for": links.hosts({ component: i.component }), exposed: links.leases(i.rollout), harmed: "#harmed-hosts",
    recovered: "?hosts=recovered#harmed-hosts", "not recovered yet": "?hosts=harmed#harmed-hosts",
  };
  const all = levels(of);
  if (all.length === 0) return <p class="soft">It reached nobody.</p>;
  return (
    <div class="incident-blast">
      <p class="small"><Num value={of.eligible} href={to["hosts that it was for"]} label="hosts that it was for" /> {of.eligible === 1 ? "host" : "hosts"} that it was for</p>
      {all.map((l, n) => (
        <div key={l.name} class="incident-level">
          <Bar l={l} />
          <div class="incident-under">
            {n < all.length - 1 ? <Zoom width={l.width} /> : null}
            <div class="incident-ends">
              <span class={l.part.kind === "harm" && l.part.count > 0 ? "ink-harm" : ""}>{l.part.kind === "harm" && l.part.count > 0 ? <Icon shape="harm" /> : null} <b><Num value={l.part.count} href={l.part.count > 0 ? to[l.part.name] : undefined} label={l.part.name} /></b> {l.part.name} <span class="soft small">{share(l.part.count, l.all)}</span></span>
              <span class={l.rest.kind === "harm" && l.rest.count > 0 ? "ink-harm" : "soft"}><Num value={l.rest.count} href={l.rest.count > 0 ? to[l.rest.name] : undefined} label={l.rest.name} /> {l.rest.name}</span>
            </div>
          </div>
        </div>
      ))}
    </div>
  );
}

function Bar({ l }: { l: Level }) {
  const at = l.width * 1000;
  const hatches = l.part.kind === "harm" ? [0, at] : l.rest.kind === "harm" ? [at, 1000 - at] : undefined;
  return (
    <svg class="incident-bar" viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" aria-label={`Of ${whole(l.all)} ${l.name}: ${whole(l.part.count)} ${l.part.name}, ${whole(l.rest.count)} ${l.rest.name}`}>
      <rect class={`incident-kind-${l.rest.kind}`} x={at} width={1000 - at} height="20" />
      <rect class={`incident-kind-${l.part.kind}`} width={at} height="20" />
      {hatches && hatches[1]! > 0 ? Array.from({ length: Math.floor(hatches[1]! / 16) + 1 }, (_, k) => <rect key={k} class="incident-hatch" x={hatches[0]! + k * 16} width="3" height="20" />) : null}
      {l.width > 0 && l.width < 1 ? <rect class="incident-hatch" x={at - 1} width="2" height="20" /> : null}
    </svg>
  );
}

/** Zoom leads from a part of a bar to the next bar, which is that part. */
const Zoom = ({ width }: { width: number }) => (
  <svg class="incident-zoom" viewBox="0 0 1000 20" preserveAspectRatio="none" aria-hidden="true"><polygon points={`0,0 ${width * 1000},0 1000,20 0,20`} /></svg>
);

// The hosts.

const step = 10; // hosts that are shown at once: each is asked for what it runs now

function HarmedHosts({ i, harmed, query }: { i: Incident; harmed: number; query: URLSearchParams }) {
  const wanted = query.get("hosts") ?? "";
  const [most, show] = useState(step);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => { if (wanted) box.current?.scrollIntoView({ block: "start" }); }, [wanted]);
  const all = i.harmed ?? [];
  const rows = useMemo(() => all.filter((l) => wanted === "" || (wanted === "recovered") === (l.recovered !== undefined)), [all, wanted]);
  const rings = i.summary?.rings ?? [];
  return (
    <div ref={box}><Section title="Harmed hosts" aside={all.length < harmed ? `the first ${whole(all.length)} of ${whole(harmed)}` : count(harmed, "host")} wide>
      {all.length > 3 || wanted ? (
        <div class="filters"><Select label="Show" value={wanted} onValue={(v) => { show(step); setQuery({ hosts: v }); }} options={[["", "all"], ["harmed", "not recovered yet"], ["recovered", "recovered"]]} /></div>
      ) : null}
      <Table label="Harmed hosts" rows={rows.slice(0, most)} id={(l) => l.endpoint} noun={["host", "hosts"]}
        list={{ next: most < rows.length ? "more" : undefined, loading: false, more: () => show(most + step), again: () => undefined }}
        empty={<p class="soft">{wanted === "recovered" ? "None has recovered yet." : wanted === "harmed" ? <><Icon shape="good" /> All have recovered.</> : "No host counts as harmed."}</p>} columns={[
          { head: "Host", lead: true, cell: (l) => <a class="incident-host long" href={links.endpoint(l.endpoint)}>{l.endpoint}</a> },
          { head: "What happened", cell: (l) => <><OutcomeBadge outcome={l.outcome} />{l.detail ? <div class="small long">{sentence(l.detail)}</div> : null}</> },
          { head: "Known", cell: (l) => <When at={l.known ?? l.issued} quiet /> },
          { head: "Ring", cell: (l) => rings[l.ring]?.name ?? whole(l.ring + 1) },
          { head: "Site", cell: (l) => (l.site ? <a class="incident-short long" href={links.hosts({ select: [`site=${l.site}`] })}>{l.site}</a> : "") },
          { head: "Recovered", cell: (l) => (l.recovered ? <><Badge tone="good">recovered</Badge> <When at={l.recovered} quiet /></> : <Badge tone="harm" shape="amber">not yet</Badge>) },
          { head: "Runs now", cell: (l) => <RunsNow key={l.endpoint} l={l} i={i} /> },
        ]} />
    </Section></div>
  );
}

/** RunsNow asks what a harmed host runs at this moment. */
function RunsNow({ l, i }: { l: LeaseStatus; i: Incident }) {
  const host = useLoad(`runs ${l.endpoint} ${l.recovered ?? ""}`, (signal) => api.get("/api/v1/endpoints/{id}", { path: { id: l.endpoint }, signal }));
  const e = host.value;
  if (host.failure?.status === 404) return <span class="soft">it was forgotten</span>;
  if (!e) return <span class="soft">{host.failure ? "not known: it could not be asked for" : "…"}</span>;
  const c = e.components?.[i.component];
  return (
    <>
      {c?.version ? <a class="incident-short long" href={links.release(i.component, c.version)}><b>{c.version}</b></a> : <span class="soft">no {i.component}</span>}
      {c?.version === i.version ? <> <Badge tone="harm" shape="amber">still this release</Badge></> : null}
      {isSilent(e, now.value) ? <div class="small soft">as it said <When at={e.last_seen} form="ago" quiet />; silent since</div> : c && c.phase !== "idle" ? <div class="small soft">{words(c.phase)}</div> : null}
    </>
  );
}

// What is behind it.

function Suspects({ i, r }: { i: Incident; r: Rollout | undefined }) {
  const all = r?.suspects ?? i.summary?.suspects ?? [];
  const first = all[0];
  return (
    <Section title="What the harmed hosts share">
      {first ? <p>Suspected is <a href={links.hosts({ select: [`${first.key}=${first.value}`] })}><code class="long">{first.key}={first.value}</code></a>: {whole(first.harmed)} of {count(first.exposed, "exposed host")} with it {first.harmed === 1 ? "was" : "were"} harmed, {whole(first.harmed_elsewhere)} of {whole(first.exposed_elsewhere)} without.</p> : null}
      {all.length === 0 ? <p class="soft">No attribute explains the harm: harmed hosts and others are alike in what is known of them.</p> : (
        <Table label="Attributes that the harmed hosts share" rows={all} id={(s) => `${s.key}=${s.value}`} empty="" columns={[
          { head: "Attribute", lead: true, cell: (s) => <a class="long" href={links.hosts({ select: [`${s.key}=${s.value}`] })}><code>{s.key}={s.value}</code></a> },
          { head: "Harmed with it", end: true, cell: (s) => `${whole(s.harmed)} of ${whole(s.exposed)}` },
          { head: "Harmed without", end: true, cell: (s) => `${whole(s.harmed_elsewhere)} of ${whole(s.exposed_elsewhere)}` },
        ]} />
      )}
    </Section>
  );
}

function Crashes({ i }: { i: Incident }) {
  const all = i.crashes ?? [];
  return (
    <Section title="Crashes" aside="equal ones together">
      <Table label="Crashes" rows={all} id={(c) => `${c.signature ?? ""}${c.headline ?? ""}${c.signal ?? ""}${c.status ?? ""}`} empty={<p class="soft">No host told of a crash.</p>} columns={[
        { head: "What they found", lead: true, cell: (c) => <>{c.headline ? <code class="incident-crash">{c.headline}</code> : <span class="soft">nothing was written</span>}<span class="soft small">{c.signal ? `signal ${c.signal}` : `exit status ${c.status ?? 0}`}{c.signature ? ` · signature ${c.signature.slice(0, 12)}` : ""}</span></> },
        { head: "Hosts", end: true, cell: (c) => <Num value={c.hosts} href="#harmed-hosts" label="hosts that crashed so" /> },
        { head: "First", cell: (c) => <When at={c.first} quiet /> },
      ]} />
    </Section>
  );
}

function Reached({ of }: { of: BlastRadius }) {
  const all: [string, Reach[] | undefined, string | undefined][] = [["Ring", of.rings, undefined], ["Stratum", of.strata, undefined], ["Tenant", of.tenants, "tenant"], ["Site", of.sites, "site"]];
  const known = all.filter(([, rows]) => rows && rows.length > 0);
  return (
    <Section title="How far it came">
      {known.length === 0 ? <p class="soft">It reached nobody.</p> : known.map(([name, rows, attribute]) => (
        <Table key={name} label={`Harmed by ${name.toLowerCase()}`} rows={rows!} id={(x) => x.name} empty="" columns={[
          { head: name, lead: true, cell: (x) => (attribute ? <a class="long" href={links.hosts({ select: [`${attribute}=${x.name}`] })}>{x.name}</a> : <span class="long">{x.name}</span>) },
          { head: "Harmed", end: true, cell: (x) => <span class={x.harmed > 0 ? "ink-harm" : ""}>{whole(x.harmed)}{x.exposed !== undefined && x.exposed !== null ? <span class="soft"> of {whole(x.exposed)} exposed</span> : null}</span> },
        ]} />
      ))}
    </Section>
  );
}

function Course({ s }: { s: RolloutSeries }) {
  const { times, hosts, e } = useMemo(() => ({
    times: s.points.map((p) => Date.parse(p.at)),
    hosts: [
      { name: "exposed", values: s.points.map((p) => p.exposed), kind: "busy" as const, step: true, fill: true },
      { name: "harmed", values: s.points.map((p) => p.harmed), kind: "harm" as const, step: true },
    ],
    e: [{ name: "E", values: s.points.map((p) => p.evidence), kind: "busy" as const, step: true }],
  }), [s]);
  const lines = useMemo(() => [{ at: s.amber, name: "amber", kind: "amber" as const }, { at: s.trip, name: "trip", kind: "harm" as const }], [s.amber, s.trip]);
  return (
    <Section title="Course" wide>
      <div class="grid">
        <Chart title="Exposure and harm" times={times} series={hosts} write={whole} />
        <Chart title="E over time" times={times} series={e} lines={lines} log write={evidence} note={s.sampled ? "A part of the decisions: there are more." : ""} />
      </div>
    </Section>
  );
}

function Timeline({ of, omitted, rollout }: { of: readonly Moment[]; omitted: number; rollout: string }) {
  const half = Math.ceil(of.length / 2);
  return (
    <Section title="Timeline" aside="oldest first, with the stored reasons" wide>
      {of.length === 0 ? <p class="soft">No decision is stored.</p> : (
        <ol class="incident-timeline">
          {of.flatMap((m, n) => [
            ...(omitted > 0 && n === half ? [<li key="omitted"><span class="incident-omitted soft">{count(omitted, "decision")} between {are(omitted)} left out: <a href={links.rollout(rollout, "timeline")}>the rollout has them</a>.</span></li>] : []),
            <li key={`${m.revision} ${n}`}>
              <When at={m.at} quiet />
              <span><VerdictBadge verdict={m.verdict} /></span>
              <span class="long"><div>{sentence(m.text)}</div><span class="soft small">{count(m.exposed, "host")} exposed, {whole(m.harmed)} harmed, E {evidence(m.evidence)}</span></span>
            </li>,
          ])}
        </ol>
      )}
    </Section>
  );
}

// What can be done.

const forms = [["markdown", "Markdown", "md"], ["json", "JSON", "json"], ["zip", "zip with pictures", "zip"]] as const;

function Actions({ i, closed }: { i: Incident; closed: () => void }) {
  const [closing, set] = useState(false);
  return (
    <>
      <span class="incident-export" role="group" aria-label="Export">
        <span class="soft" aria-hidden="true">Export</span>
        {forms.map(([format, text, end]) => (
          <a key={format} class="button" download={`incident-${i.id.replace(/^incident-/, "")}.${end}`} href={fill("/api/v1/incidents/{id}/report", { id: i.id }, { format })}>{text}</a>
        ))}
      </span>
      {i.closed ? null : <button type="button" class="primary" onClick={() => set(true)}>Close it</button>}
      {closing ? <Close i={i} close={() => set(false)} done={() => { set(false); closed(); }} /> : null}
    </>
  );
}

function Close({ i, close, done }: { i: Incident; close: () => void; done: () => void }) {
  const [note, setNote] = useState("");
  const form = useSending();
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (await form.send(async () => { await api.post("/api/v1/incidents/{id}/close", { path: { id: i.id }, body: note.trim() ? { note: note.trim() } : {} }); })) {
      toast("the incident is closed");
      done();
    }
  };
  const left = (i.harmed ?? []).filter((l) => !l.recovered).length;
  return (
    <Dialog title="Close the incident" close={close}>
      <form onSubmit={(event) => void send(event)}>
        <p>It needs nobody any more, and leaves the list of open ones. Nothing else changes: a release that was recalled stays recalled, and what is held stays held.</p>
        {left > 0 ? <p class="ink-amber"><Icon shape="amber" /> {count(left, "harmed host")} {left === 1 ? "has" : "have"} not recovered yet.</p> : null}
        <TextArea label="Note" path="note" failure={form.failure} value={note} onValue={setNote} rows={4} hint="What it was, and what was learnt. It is kept with the incident." />
        <FormFailure failure={form.failure} shown={["note"]} what="It was not closed" />
        <div class="dialog-actions">
          <button type="button" onClick={close}>Leave it open</button>
          <button type="submit" class="primary" disabled={form.busy}>{form.busy ? "Sending…" : "Close it"}</button>
        </div>
      </form>
    </Dialog>
  );
}
