import "./planview.css";
import { useState } from "preact/hooks";
import type { PlanCheck } from "./api";
import { freezeText, frozen, lasting, opening, stateOf, windowText, type Freeze } from "./calendar";
import { api } from "./client";
import { Played } from "./forecast";
import { count, list, span, whole } from "./format";
import * as links from "./links";
import { useLoad } from "./load";
import { now } from "./now";
import { asks, bands, changes, gateText, milliseconds, notBefore, percent, reached, rounds, selectorText, sentenceOf, sizes, sizeText, time, type PlanDoc, type PlanRing } from "./plan";
import { Badge, Empty, Facts, Figure, Figures, Num, Select, Shown, Table, When } from "./ui";

const assumed = 100_000; // hosts of a fleet that is not known: for the drawing alone

/** colour is a ring's: from fire, where harm would show, to wood. */
const colour = (k: number, n: number): string => `color-mix(in srgb, var(--fire) ${Math.round(100 - (100 * k) / Math.max(1, n - 1))}%, var(--wood))`;

const circle = (r: number): string => `M0 ${-r}a${r} ${r} 0 1 0 .001 0Z`;

/** Rings draws a plan's rings around each other. What it shows stands in the table beside it; here it is one sentence. */
export function Rings({ plan, fleet, small }: { plan: PlanDoc; fleet?: number | undefined; small?: boolean }) {
  const n = plan.rings.length;
  const hosts = sizes(plan.rings, fleet && fleet > 0 ? fleet : assumed);
  const drawn = bands(hosts, plan.rings.map((r) => milliseconds(r.evidence?.bake) ?? 0), 100);
  const held = (r: PlanRing | undefined): boolean => r?.holdback === true;
  return (
    <svg class={small ? "plan-mark" : undefined} viewBox="-103 -103 206 206" {...(small ? { "aria-hidden": true } : { role: "img", "aria-label": `${count(n, "ring")} of plan ${plan.name}. ${sentenceOf(plan)}` })} focusable="false">
      {drawn.map((b) => (
        <path key={b.ring} class={`plan-band ${held(plan.rings[b.ring]) ? "last" : ""}`} style={{ fill: colour(b.ring, n) }} d={circle(b.outer) + (b.inner > 0 ? circle(b.inner) : "")} />
      ))}
      {small || n > 12 ? null : drawn.slice(0, -1).map((b) => <circle key={`b${b.ring}`} class="plan-break" r={b.outer + b.break / 2} />)}
      {small ? null : drawn.filter((b) => b.outer - b.inner > 7).map((b) => (
        <text key={`n${b.ring}`} aria-hidden="true" class={`plan-number ${held(plan.rings[b.ring]) ? "plan-band-last-number" : ""}`} y={b.inner === 0 ? 0 : -(b.inner + b.outer) / 2} font-size={Math.min(13, (b.outer - b.inner) * 0.75)}>{b.ring + 1}</text>
      ))}
    </svg>
  );
}

/** useFleet is how many hosts there are, of a component if one is named; undefined while it is not known. */
export function useFleet(component = ""): number | undefined {
  const state = useLoad(`fleet state ${component}`, (signal) => api.get("/api/v1/fleet/state", { query: component ? { component } : {}, signal }));
  return state.value?.endpoints;
}

/** PlanRings are a plan's rings, drawn and as a table. */
export function PlanRings({ plan, component }: { plan: PlanDoc; component?: string }) {
  const fleet = useFleet(component);
  const n = plan.rings.length;
  const opens = notBefore(plan.rings);
  const held = fleet ? reached(plan.rings, fleet) : undefined;
  const rows = plan.rings.map((ring, k) => ({ ring, k }));
  const chosen = plan.rings.some((r) => r.select || r.prefer);
  return (
    <div class="plan-rings">
      <figure class="plan-figure">
        <Rings plan={plan} fleet={fleet} />
        <figcaption>From the first hosts outwards. Widths go by the logarithm of the hosts, the breaks between by the bake.</figcaption>
      </figure>
      <Table label={`Rings of plan ${plan.name}`} rows={rows} id={(r) => String(r.k)} empty={<Empty title="The plan has no rings" />} columns={[
        { head: "Ring", lead: true, cell: ({ ring, k }) => (
          <span class="row"><span class="plan-ring-name"><span class={`plan-key ${ring.holdback ? "last" : ""}`} style={ring.holdback ? {} : { background: colour(k, n) }}>{k + 1}</span>{ring.name}</span>{ring.holdback ? <Badge tone="idle">holdback</Badge> : null}</span>
        ) },
        { head: "Hosts", cell: ({ ring, k }) => <>{sizeText(ring)}{ring.share && held ? <div class="soft small">{held[k] === 0 ? "nobody is left in today's fleet" : `${whole(held[k]!)} of today's ${whole(fleet!)}`}</div> : null}</> },
        { head: "Opens", cell: ({ k }) => <span class={opens[k] === 0 ? "soft" : ""}>{k === 0 ? "at the start" : opens[k] === 0 ? "as soon as the evidence is there" : `after ${span(opens[k]!)} at the earliest`}</span> },
        { head: "Before the next opens", cell: ({ ring, k }) => <Asked ring={ring} last={k === n - 1} /> },
        ...(chosen ? [{ head: "Whom", cell: ({ ring }: { ring: PlanRing }) => <>{ring.select ? <div class="long">only {selectorText(ring.select)}</div> : null}{ring.prefer ? <div class="long">first {selectorText(ring.prefer)}</div> : null}{!ring.select && !ring.prefer ? <span class="soft">anybody</span> : null}</> }] : []),
      ]} />
    </div>
  );
}

function Asked({ ring, last }: { ring: PlanRing; last: boolean }) {
  const { gates = [], ...rest } = ring.evidence ?? {};
  const all = asks(rest);
  return (
    <div>
      {last ? <span class="soft small">the rollout is complete after</span> : null}
      {all.length + gates.length === 0 ? <span class="soft">{last ? " its hosts" : "nothing more than its hosts"}</span> : <ul class="plan-asks small">{all.map((a) => <li key={a}>{a}</li>)}</ul>}
      {gates.length > 0 ? <details class="small"><summary>{count(gates.length, "gate")}: {list(gates.map((g) => g.name))}</summary><ul>{gates.map((g) => <li key={g.name} class="long"><b>{g.name}</b>: {gateText(g)}</li>)}</ul></details> : null}
    </div>
  );
}

/** PlanRules are what holds for all rings. */
export function PlanRules({ plan }: { plan: PlanDoc }) {
  const b = plan.breaker;
  const caps = [plan.caps?.tenant ? `${percent(plan.caps.tenant)} of any tenant` : "", plan.caps?.site ? `${percent(plan.caps.site)} of any site` : ""].filter(Boolean);
  const done = notBefore(plan.rings)[plan.rings.length] ?? 0;
  return (
    <Facts of={[
      ["Rounds", rounds(plan.window)],
      ["Lease", plan.lease ? `${time(plan.lease.expires)} to begin, silent after ${time(plan.lease.deadline)}` : ""],
      ["Caps", caps.length > 0 ? `${list(caps)}, on rings counted in hosts; one host is always allowed` : "none: a ring may take all of a tenant or a site"],
      ["Budget", plan.budget?.hosts ? <>{count(plan.budget.hosts, "harmed host")} at most{plan.budget.site ? `, ${whole(plan.budget.site)} in any site of 100` : ""}{plan.budget.by === "reports" ? "; hosts that can only fall silent are left out" : ""}</> : "none: no bound is too large for it"],
      ["Breaker", b ? `trips at E ${whole(Math.round(1 / (b.alpha || 1e-4)))}, amber at ${b.amber}; ${percent(b.ceiling ?? 0)} of the hosts may report harm without it, ${percent(b.silence ?? 0)} fall silent` : ""],
      ["Done", `after ${span(done)} of bakes at the earliest; the breaker stays armed for ${time(plan.watch)} more`],
      ["Agreement", (plan.approvals ?? 1) > 1 ? `${count(plan.approvals!, "person", "people")} must agree to a start` : "whoever starts it"],
      ["Posture", plan.posture && plan.posture.length > 0 ? <>hosts must have {plan.posture.map((w, i) => <>{i > 0 ? ", " : ""}<a key={w} href={links.hosts({ lacks: w })} title={`hosts without ${w}`}>{w}</a></>)}; those that lack it get nothing</> : "asked of nobody"],
      ["Strata", plan.strata ? `hosts alike in ${list(plan.strata)}` : ""],
      ["Cells", plan.cells && plan.cells.length > 0 ? plan.cells.map((w, i) => `${i > 0 ? ` then${w.after ? ` after ${time(w.after)}` : ""} ` : ""}${list(w.names)}`).join(",") : ""],
    ]} />
  );
}

/** PlanCalendar says when a plan lets leases be granted, and whether it does now. */
export function PlanCalendar({ plan }: { plan: Pick<PlanDoc, "calendar"> }) {
  const windows = plan.calendar?.windows ?? [];
  const freezes = plan.calendar?.freezes ?? [];
  const installed = useLoad("freezes", (signal) => api.get("/api/v1/freezes", { signal })); // if they cannot be had, the line below still tells of them
  return (
    <div class="plan-calendar">
      <p><OpenNow plan={plan} freezes={installed.value?.freezes} /></p>
      {windows.length === 0 ? <p>Leases are granted at any time of the day and of the week.</p> : (
        <>
          <ul aria-label="Windows">{windows.map((w, i) => <li key={i} class="long">{windowText(w)}</li>)}</ul>
        </>
      )}
      {freezes.length > 0 ? <><p>Its own freezes:</p><ul aria-label="Freezes of the plan">{freezes.map((f, i) => <li key={i} class="long"><b><bdi>{f.name}</bdi></b>: {freezeText(f)} <FreezeState freeze={f} /></li>)}</ul></> : null}
      <p class="soft small">The freezes of the installation count too: <a href="/holds#freezes">look at them</a>. Outside of windows and in a freeze hosts still prove, rings bake, the breaker trips, and halts and rollbacks work.</p>
    </div>
  );
}

/** FreezeState is whether a freeze is in force now. */
export function FreezeState({ freeze }: { freeze: Parameters<typeof frozen>[0] }) {
  const s = frozen(freeze);
  if (typeof s === "string") return <><Badge tone="amber">not known here</Badge> <div class="small soft">{s}</div></>;
  const state = stateOf(s, now.value);
  return state === "in force" ? <Badge tone="amber" shape="paused">in force</Badge> : state === "coming" ? <Badge tone="busy" shape="asked">coming</Badge> : <Badge tone="idle">past</Badge>;
}

/** OpenNow says whether a plan's calendar and the installation's freezes are open at this moment, and when that changes. */
export function OpenNow({ plan, freezes = [] }: { plan: Pick<PlanDoc, "calendar">; freezes?: readonly Freeze[] | undefined }) {
  const at = Math.floor(now.value / 30_000) * 30_000;
  const ice = lasting([...(plan.calendar?.freezes ?? []), ...freezes], at);
  if (ice) return <><Badge tone="amber" shape="paused">closed now</Badge> <span class="small">freeze <bdi>{ice.freeze.name}</bdi> until <When at={ice.until} quiet /></span></>;
  const o = opening(plan.calendar?.windows ?? [], at);
  if (o.unread) return <><Badge tone="amber">not known</Badge> <span class="small">{o.unread}; the control plane decides</span></>;
  if (o.open) return <><Badge tone="good">open now</Badge> {o.until ? <span class="small">closes <When at={o.until} form="both" quiet /></span> : <span class="small soft">always</span>}</>;
  return <><Badge tone="amber" shape="paused">closed now</Badge> {o.until ? <span class="small">opens <When at={o.until} form="both" quiet /></span> : <span class="small">it opens at no time</span>}</>;
}

/** Bound is the harm that a plan is bounded to, with the arithmetic. */
export function Bound({ check }: { check: Pick<PlanCheck, "bound" | "steps"> }) {
  const steps = check.steps ?? [];
  return (
    <>
      <div class="plan-bound"><Figures label="The bound"><Figure name="Harmed hosts at most, on average" value={check.bound ?? 0} note="by a release that harms a tenth of the hosts or more, or that shows in the first bake" /></Figures></div>
      {steps.length > 0 ? (
        <details>
          <summary>The arithmetic, fault by fault</summary>
          <dl class="plan-steps plan-more">
            {steps.map((s, i) => {
              const at = s.indexOf(": ");
              return <div key={i}>{at > 0 ? <><dt>{s.slice(0, at)}</dt><dd>{s.slice(at + 2)}</dd></> : <><dt class="soft">assumed</dt><dd>{s}</dd></>}</div>;
            })}
          </dl>
        </details>
      ) : null}
    </>
  );
}

/** Cost is what bad releases would cost under a plan, as the simulator plays them: asked for by a button, as it takes seconds. */
export function Cost({ plan }: { plan: string }) {
  const [component, set] = useState("");
  const [asked, ask] = useState<string | null>(null);
  const components = useLoad("components", (signal) => api.get("/api/v1/components", { query: { limit: 200 }, signal }));
  const f = useLoad(asked === null ? null : `forecast ${plan} ${asked}`, (signal) =>
    api.get("/api/v1/plans/{name}/forecast", { path: { name: plan }, query: asked ? { component: asked } : {}, signal, timeout: 60_000 }));
  return (
    <>
      <p class="soft">The simulator plays releases that harm hosts under this plan, on a fleet like this one.</p>
      <form class="filters" onSubmit={(e) => { e.preventDefault(); if (asked === component) f.again(); else ask(component); }}>
        <Select label="Hosts" value={component} onValue={set} options={[["", "the whole fleet"], ...(components.value?.items ?? []).map((c) => [c.name, `those with ${c.name}`] as const)]} />
        <button type="submit" disabled={asked !== null && f.loading}>{asked !== null && f.loading ? "Playing…" : "Predict it"}</button>
      </form>
      {asked === null ? null : (
        <Shown of={f} what="the forecast">{(v) => <Played forecast={v} />}</Shown>
      )}
    </>
  );
}

/** PlanChanges lists where two plans differ. */
export function PlanChanges({ before, after, heads }: { before: unknown; after: unknown; heads: [string, string] }) {
  const all = changes(before, after);
  return (
    <div class="plan-changes"><Table label="What differs" rows={all} id={(c) => c.path} empty={<p><Badge tone="good">nothing differs</Badge></p>} columns={[
      { head: "Path", lead: true, cell: (c) => <code class="long">{c.path}</code> },
      { head: heads[0], cell: (c) => (c.before === undefined ? <span class="soft">not there</span> : <span class="long nums">{c.before}</span>) },
      { head: heads[1], cell: (c) => (c.after === undefined ? <span class="soft">not there</span> : <span class="long nums">{c.after}</span>) },
    ]} /></div>
  );
}

/** BoundOf is a plan's bound in a table. */
export const BoundOf = ({ hosts, plan }: { hosts: number; plan: string }) => <><Num value={hosts} href={links.plan(plan) + "#bound"} label={`harmed hosts at most, on average, by plan ${plan}`} /><span class="soft"> {hosts === 1 ? "host" : "hosts"}</span></>;
