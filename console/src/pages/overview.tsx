import "../rings.css";
import "./overview.css";
import { useMemo, useState } from "preact/hooks";
import type { FleetHistory, FleetState, HealthCheck, Overview, Rollout } from "../api";
import { api } from "../client";
import { useCurrent } from "../current";
import { are, count, list, sentence, share, whole, words } from "../format";
import * as links from "../links";
import { useLoad } from "../load";
import type { PageProps } from "../pages";
import { RingLine } from "../rings";
import { versions } from "../versions";
import { waits } from "../waiting";
import { Badge, Chart, Empty, Figure, Figures, Gauge, Icon, Num, Old, Page, PhaseBadge, Section, Select, Shown, Table, When, type Series, type Tone } from "../ui";

/** OverviewPage answers: is the fleet well, what is moving, what needs me. */
export default function OverviewPage(_: PageProps) {
  const now = useCurrent("overview", (signal) => api.get("/api/v1/overview", { signal }));
  return (
    <Page title="Overview" lead={now.value ? <Verdict of={now.value} /> : "Is the fleet well, what is moving, what needs you."}>
      {now.value && now.stale !== undefined ? <Old why={now.stale}>As of <When at={now.value.at} />.</Old> : null}
      <Shown of={now} what="the overview">{(o) => <Everything o={o} />}</Shown>
    </Page>
  );
}

function Everything({ o }: { o: Overview }) {
  const all = Object.values(o.rollouts);
  const moving = all.filter((r) => !r.ended).sort(byNeed);
  const ended = all.filter((r) => r.ended).sort((a, b) => b.ended!.localeCompare(a.ended!));
  return (
    <>
      <FleetFigures fleet={o.fleet} />
      <Needs o={o} />
      <section aria-labelledby="h-moving" id="moving">
        <div class="card-head"><h2 id="h-moving">Moving</h2><span class="card-aside"><a href="/rollouts?active=true">{count(o.running, "rollout")} not ended</a></span></div>
        {moving.length === 0
          ? <div class="card"><Empty title="Nothing is moving">No host is being exposed to anything new. <a href="/rollouts?start=true">Start a rollout</a> of a release, or look at <a href="/releases">what there is</a>.</Empty></div>
          : <div class="overview-moving">{moving.map((r) => <Moving key={r.id} r={r} />)}</div>}
      </section>
      <div class="grid">
        <Incidents o={o} />
        <Ended rollouts={ended} />
        <Heartbeats fleet={o.fleet} />
        <Versions fleet={o.fleet} />
        <Section title="Freezes"><Freezes of={o.freezes ?? []} /></Section>
        <Section title="Control plane"><Health of={o.health ?? []} /></Section>
      </div>
    </>
  );
}

/** byNeed puts first what is in trouble, then what waits for people, then the newest. */
function byNeed(a: Rollout, b: Rollout): number {
  const rank = (r: Rollout): number => (r.alarm !== "quiet" ? 0 : r.phase === "running" ? 1 : 2);
  return rank(a) - rank(b) || b.started.localeCompare(a.started);
}

/** verdict says in a sentence how things are. */
export function verdict(o: Overview): { tone: Tone; text: string } {
  const needs = Object.values(o.attention ?? {}).length;
  const sick = (o.health ?? []).filter((h) => !h.ok);
  const open = Object.values(o.incidents).filter((i) => !i.closed).length;
  const parts = [
    o.fleet.endpoints === 0 ? "no endpoint has joined yet" : `${share(o.fleet.heard, o.fleet.endpoints)} of ${count(o.fleet.endpoints, "endpoint")} heard in the last 15 minutes`,
    o.running === 0 ? "nothing is moving" : `${count(o.running, "rollout")} ${are(o.running)} moving or waiting`,
  ];
  if (open > 0) parts.push(`${count(open, "incident")} ${are(open)} open`);
  if (sick.length > 0) parts.push(`the control plane is not well: ${list(sick.map((h) => h.name))}`);
  if (needs === 0) parts.push("nothing needs you");
  const tone: Tone = open > 0 || sick.length > 0 ? "harm" : needs > 0 ? "amber" : "good";
  return { tone, text: sentence(parts.join("; ")) };
}

function Verdict({ of }: { of: Overview }) {
  const { tone, text } = verdict(of);
  return <p class="overview-verdict"><span class={`ink-${tone}`}><Icon shape={tone} /></span><span>{text}</span></p>;
}

function FleetFigures({ fleet }: { fleet: FleetState }) {
  const est = fleet.estimated;
  return (
    <Figures label="The fleet">
      <Figure name="Endpoints" value={fleet.endpoints} href={links.hosts()} estimated={est} />
      <Figure name="Heard" value={fleet.heard} href={links.hosts()} note="in the last 15 min" estimated={est} />
      <Figure name="Silent" value={fleet.silent} href={links.hosts({ silent: 15 })} note={fleet.endpoints > 0 ? share(fleet.silent, fleet.endpoints) : undefined} tone={fleet.silent > fleet.endpoints * 0.05 ? "amber" : undefined} estimated={est} />
      <Figure name="At risk" value={fleet.at_risk} href={links.hosts({ at_risk: true })} note="would not survive a boot loop" tone={fleet.at_risk > 0 ? "amber" : undefined} estimated={est} />
      <Figure name="Refusing" value={fleet.refusing} href={links.hosts({ refusing: true })} note="keep a release in quarantine" estimated={est} />
    </Figures>
  );
}

const about: { [kind: string]: [Tone, string] } = {
  incident: ["harm", "incident"], amber: ["amber", "amber"], approval: ["amber", "approval"], paused: ["amber", "paused"], hold: ["idle", "hold"],
  silence: ["amber", "silence"], unfit: ["amber", "unfit"], health: ["harm", "control plane"],
};

function Needs({ o }: { o: Overview }) {
  const all = Object.entries(o.attention ?? {}).sort(([, a], [, b]) => a.rank - b.rank);
  const to = (a: Overview["attention"][string]): string =>
    a.about === "rollout" && a.id ? links.rollout(a.id) : a.about === "incident" && a.id ? links.incident(a.id) : a.about === "fleet" ? (a.kind === "silence" ? links.hosts({ silent: 15 }) : links.hosts()) : "#control-plane";
  return (
    <Section title="Needs you" aside={all.length > 0 ? "the most urgent first" : undefined}>
      {all.length === 0 ? <p class="soft"><Icon shape="good" /> Nothing. What needs a person shows up here by itself.</p> : (
        <ol class="overview-needs">
          {all.map(([key, a]) => {
            const [tone, word] = about[a.kind] ?? ["idle", words(a.kind)];
            return (
              <li key={key}>
                <Badge tone={tone} shape={a.kind === "paused" ? "paused" : a.kind === "approval" ? "asked" : tone}>{word}</Badge>
                <a href={to(a)} class="long">{a.text}</a>
                <span class="soft small">{a.since ? <When at={a.since} form="ago" quiet /> : null}</span>
              </li>
            );
          })}
        </ol>
      )}
    </Section>
  );
}

function Moving({ r }: { r: Rollout }) {
  const tone = r.alarm === "trip" ? "harm" : r.alarm === "amber" || r.phase !== "running" ? "amber" : "busy";
  return (
    <article class={`card overview-rollout ${tone}`} aria-labelledby={`r-${r.id}`}>
      <div class="overview-head">
        <h3 id={`r-${r.id}`}><a href={links.rollout(r.id)}>{r.component} {r.version}</a></h3>
        <span class="row">{r.emergency ? <Badge tone="amber">emergency</Badge> : null}<PhaseBadge phase={r.phase} /></span>
      </div>
      <ul class="rings-lines">{r.rings.map((ring) => <RingLine key={ring.name} ring={ring} />)}</ul>
      <div class="overview-numbers">
        <span><Num value={r.exposed} href={links.leases(r.id)} label="exposed hosts" /> exposed</span>
        <span><Num value={r.confirmed} href={links.leases(r.id, "confirmed")} label="confirmed hosts" /> confirmed</span>
        <span><Num value={r.unconfirmed} href={links.leases(r.id, "pending")} label="hosts under way" /> under way</span>
        <span class={r.harmed > 0 ? "ink-harm" : "soft"}>{r.harmed > 0 ? <Icon shape="harm" /> : null} <Num value={r.harmed} href={r.harmed > 0 ? links.leases(r.id, "harmed") : undefined} label="harmed hosts" /> harmed</span>
      </div>
      <Gauge value={r.evidence} amber={r.amber} trip={r.trip} alarm={r.alarm} />
      <p class="overview-why">{waits(r)}</p>
    </article>
  );
}

function Incidents({ o }: { o: Overview }) {
  const open = Object.values(o.incidents).filter((i) => !i.closed).sort((a, b) => b.opened.localeCompare(a.opened));
  return (
    <Section title="Open incidents" aside={<a href="/incidents">all incidents</a>}>
      <Table label="Open incidents" rows={open} id={(i) => i.id} empty={<p class="soft"><Icon shape="good" /> None is open.</p>} columns={[
        { head: "Incident", lead: true, cell: (i) => <a class="long" href={links.incident(i.id)}>{i.title}</a> },
        { head: "Opened", cell: (i) => <When at={i.opened} form="ago" quiet /> },
      ]} />
    </Section>
  );
}

function Ended({ rollouts }: { rollouts: Rollout[] }) {
  return (
    <Section title="Ended lately" aside={<a href="/rollouts">all rollouts</a>}>
      <Table label="Rollouts that ended in the last day" rows={rollouts.slice(0, 8)} id={(r) => r.id} empty={<p class="soft">None ended in the last day.</p>} columns={[
        { head: "Release", lead: true, cell: (r) => <a class="long" href={links.rollout(r.id)}>{r.component} {r.version}</a> },
        { head: "How", cell: (r) => <PhaseBadge phase={r.phase} /> },
        { head: "Exposed", end: true, cell: (r) => <Num value={r.exposed} href={links.leases(r.id)} label="exposed hosts" /> },
        { head: "Harmed", end: true, cell: (r) => <span class={r.harmed > 0 ? "ink-harm" : ""}>{r.harmed > 0 ? <Icon shape="harm" /> : null} <Num value={r.harmed} href={r.harmed > 0 ? links.leases(r.id, "harmed") : undefined} label="harmed hosts" /></span> },
        { head: "Ended", cell: (r) => <When at={r.ended} form="ago" quiet /> },
      ]} />
    </Section>
  );
}

function Heartbeats({ fleet }: { fleet: FleetState }) {
  const history = useLoad(`history ${new Date(fleet.at).getHours()}`, (signal) => api.get("/api/v1/fleet/history", { signal }));
  return (
    <Section title="Heartbeats" aside="24 h">
      <Shown of={history} what="the history">{(h) => <HeartbeatChart h={h} />}</Shown>
    </Section>
  );
}

function HeartbeatChart({ h }: { h: FleetHistory }) {
  const [times, series] = useMemo((): [number[], Series[]] => {
    const whole = h.samples.filter((s) => !s.component);
    return [whole.map((s) => Date.parse(s.at)), [
      { name: "endpoints", values: whole.map((s) => s.hosts), kind: "idle", step: true }, { name: "heard", values: whole.map((s) => s.heard), kind: "good" },
      { name: "silent", values: whole.map((s) => Math.max(0, s.hosts - s.heard)), kind: "amber" },
    ]];
  }, [h]);
  return <Chart title="Hosts heard over time" times={times} series={series} write={whole} />;
}

function Versions({ fleet }: { fleet: FleetState }) {
  const components = [...new Set((fleet.versions ?? []).map((v) => v.component))];
  const [chosen, choose] = useState("");
  const component = chosen || components[0] || "";
  const history = useLoad(component ? `versions ${component} ${new Date(fleet.at).getHours()}` : null, (signal) => api.get("/api/v1/fleet/history", { query: { component }, signal }));
  const now = (fleet.versions ?? []).filter((v) => v.component === component);
  return (
    <Section title="Versions" aside={now.length > 0 ? <>now: {list(now.slice(0, 3).map((v) => `${v.version || "none"} on ${whole(v.hosts)}`))}</> : undefined}>
      {components.length === 0 ? <Empty title="Nothing is installed">Hosts report what they run when they check in.</Empty> : (
        <>
          {components.length > 1 ? <Select label="Component" value={component} onValue={choose} options={components.map((c) => [c, c] as const)} /> : null}
          <Shown of={history} what="the history">{(h) => <VersionChart h={h} component={component} />}</Shown>
        </>
      )}
    </Section>
  );
}

function VersionChart({ h, component }: { h: FleetHistory; component: string }) {
  const { times, series } = useMemo(() => versions(h, component), [h, component]);
  return <Chart title={`Hosts by version of ${component}`} times={times} series={series} write={whole} />;
}

function Freezes({ of }: { of: readonly string[] }) {
  return of.length === 0 ? <p class="soft">None is in force. <a href="/holds">Freezes and holds</a></p>
    : <><ul>{of.map((f) => <li key={f} class="long"><Icon shape="paused" /> {f}</li>)}</ul><p class="small"><a href="/holds">Freezes and holds</a></p></>;
}

function Health({ of }: { of: readonly HealthCheck[] }) {
  return of.length === 0 ? <p class="soft">No check has been made yet.</p> : (
    <ul class="overview-checks">
      {of.map((c) => (
        <li key={c.name}>
          <Badge tone={c.ok ? "good" : "harm"}>{c.name}: {c.ok ? "ok" : "failing"}</Badge> <span class="soft small">since <When at={c.since} form="ago" quiet /></span>
          {c.ok ? null : <p class="long">{sentence(c.why ?? "")} {c.next ? sentence(c.next) : ""}</p>}
        </li>
      ))}
    </ul>
  );
}

