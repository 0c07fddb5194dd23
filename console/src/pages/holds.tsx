import "./holds.css";
import { useRef, useState } from "preact/hooks";
import type { Freezes, Rollout, RolloutHold } from "../api";
import { freezeText, frozen, stateOf, windowText, type Freeze, type Span } from "../calendar";
import { api, asFailure, type Failure } from "../client";
import { Commands } from "../commands";
import { useCurrent } from "../current";
import { useEvery } from "../every";
import { byDays, byMinutes, called, edited, lifting, setting, sorted, type Ends } from "../freezes";
import { ago, count, span } from "../format";
import * as links from "../links";
import { useList, useLoad, type Loaded } from "../load";
import { clock, now, zone } from "../now";
import type { PageProps } from "../pages";
import { readPlan, type PlanDoc } from "../plan";
import { FreezeState, OpenNow } from "../planview";
import { setQuery } from "../router";
import { Badge, Dialog, Empty, Field, Figure, Figures, FormFailure, Loading, Old, Page, PhaseBadge, Section, Select, Shown, Table, toast, useSending, When } from "../ui";

const pace = 30_000; // milliseconds between questions for the freezes

const alive = new Set(["proposed", "running", "paused"]);

/** HoldsPage shows everything that keeps releases from hosts: holds, windows, freezes. */
export default function HoldsPage({ query }: PageProps) {
  const all = query.get("complete") === "true";
  const overview = useCurrent("overview", (signal) => api.get("/api/v1/overview", { signal }));
  const found = useList<Rollout>(`rollouts ${all ? "with complete ones" : "that are live"}`, (after, signal) =>
    api.get("/api/v1/rollouts", { query: { ...(all ? { phase: ["proposed", "running", "paused", "complete"] } : { active: true }), limit: 200, ...(after ? { after } : {}) }, signal }));
  const freezes = useLoad<Freezes>("freezes", (signal) => api.get("/api/v1/freezes", { signal }));
  useEvery(freezes.loading ? null : pace, freezes.again); // no topic of the stream brings them
  // The list says which rollouts there are, the stream how they are now, and which began since.
  const byId = new Map(found.items.map((r) => [r.id, r]));
  for (const r of Object.values(overview.value?.rollouts ?? {})) if (byId.has(r.id) || alive.has(r.phase)) byId.set(r.id, r);
  const rollouts = [...byId.values()].filter((r) => alive.has(r.phase) || (all && r.phase === "complete"));
  const live = rollouts.filter((r) => alive.has(r.phase));
  const holds = rollouts.flatMap((r) => (r.holds ?? []).map((hold) => ({ r, hold })));
  const inForce = freezes.value?.freezes.filter((f) => { const s = frozen(f); return typeof s !== "string" && stateOf(s, now.value) === "in force"; });
  const running = live.filter((r) => r.phase === "running").length;
  const known = found.first !== undefined || overview.value !== undefined;
  return (
    <Page title="Holds, windows, freezes" lead="What keeps releases from hosts: from some of them, at some times, or from all.">
      {overview.value && overview.stale !== undefined ? <Old why={`rollouts are shown as they were a while ago: ${overview.stale}`} /> : null}
      <Figures label="What is kept">
        <Figure name="Holds" value={known ? holds.length : undefined} href="#holds" note={all ? "of live and complete rollouts" : "of live rollouts"} />
        <Figure name="Freezes in force" value={inForce?.length} href="#freezes" tone={inForce && inForce.length > 0 ? "amber" : undefined} note={inForce && inForce.length > 0 ? inForce.map(called).join(", ") : undefined} />
        <Figure name="Live rollouts" value={known ? live.length : undefined} href="/rollouts?active=true" />
      </Figures>
      <Section title="Freezes" aside={<AddFreeze list={freezes} running={running} />}>
        <p class="soft">In a freeze no rollout exposes anybody. Halts and rollbacks go on, and so does everything that is decided on outcomes.</p>
        <Shown of={freezes} what="the freezes">{(f) => <FreezeTable value={f} list={freezes} running={running} />}</Shown>
      </Section>
      <Section title="Holds" aside={<label><input type="checkbox" checked={all} onChange={(e) => setQuery({ complete: e.currentTarget.checked })} /> of complete rollouts too</label>}>
        <p class="soft">A hold keeps one release from the hosts that it selects; those of them that have it go back. The breaker makes one when a stratum, a tenant or a site alone is harmed.</p>
        <HoldTable holds={holds} list={found} live={live.length} />
        <p class="soft small">A hold is added on the page of its rollout. Firebreak has no pins yet: the owner of a host who wants it to stay as it is asks for a hold that selects the host, such as <code>label.owner=web-team</code> or <code>site=graz</code>.</p>
      </Section>
      <Section title="Windows" aside="of the plans of live rollouts">
        {known ? <Windows live={live} freezes={freezes.value?.freezes ?? []} /> : found.failure ? <p class="soft">The live rollouts are not known: see above.</p> : <Loading what="the live rollouts" />}
      </Section>
    </Page>
  );
}

function HoldTable({ holds, list, live }: { holds: { r: Rollout; hold: RolloutHold }[]; list: Parameters<typeof Table<Rollout>>[0]["list"]; live: number }) {
  const select = (h: RolloutHold): string[] => Object.entries(h.select).flatMap(([k, v]) => v.map((x) => `${k}=${x}`));
  return (
    <Table label="Holds" rows={holds} id={(x) => x.r.id + x.hold.text + x.hold.at} noun={["hold", "holds"]} {...(list ? { list } : {})}
      empty={<Empty title="Nothing is held">{live === 0 ? "No rollout is live." : live === 1 ? "The live rollout is for all hosts that its plan is for." : `The ${count(live, "live rollout")} are for all hosts that their plans are for.`} <a href="/rollouts?active=true">Look at the live rollouts</a>.</Empty>} columns={[
        { head: "Hosts", lead: true, cell: (x) => <a class="long" href={links.hosts({ select: select(x.hold) })}><code>{x.hold.text}</code></a> },
        { head: "Do not get", cell: (x) => <><a class="long" href={links.rollout(x.r.id, "holds")}>{x.r.component} {x.r.version}</a> <PhaseBadge phase={x.r.phase} /></> },
        { head: "Why", cell: (x) => <span class="long">{x.hold.reason || <span class="soft">no reason given</span>}</span> },
        { head: "By", cell: (x) => (x.hold.by === "breaker" ? <Badge tone="harm">breaker</Badge> : <span class="long">{x.hold.by}</span>) },
        { head: "Since", cell: (x) => <When at={x.hold.at} quiet /> },
        { head: "Undo", cell: (x) => <Commands r={x.r} lift={x.hold} /> },
      ]} />
  );
}

// Windows: of the plan as it is frozen into each rollout, which its first event has.

const most = 20; // rollouts whose plans are asked for

interface Frozen { plan: PlanDoc | undefined; failure?: Failure }

/** usePlans asks for the plans that are frozen into rollouts. They never change, so each is asked for once. */
function usePlans(ids: readonly string[]): Map<string, Frozen> {
  const kept = useRef(new Map<string, Frozen>());
  const missing = ids.filter((id) => !kept.current.get(id)?.plan);
  useLoad(missing.length > 0 ? `plans of ${missing.join(" ")}` : null, async (signal) => {
    await Promise.all(missing.map(async (id) => {
      const got = await api.get("/api/v1/rollouts/{id}/events", { path: { id }, query: { limit: 1 }, signal })
        .then((page): Frozen => ({ plan: readPlan((page.items[0]?.data as { plan?: unknown } | undefined)?.plan) ?? { name: "", rings: [] } }), (e: unknown): Frozen => ({ plan: undefined, failure: asFailure(e) }));
      if (!signal.aborted) kept.current.set(id, got);
    }));
    return true;
  });
  return kept.current;
}

function Windows({ live, freezes }: { live: readonly Rollout[]; freezes: readonly Freeze[] }) {
  const shown = live.slice(0, most);
  const plans = usePlans(shown.map((r) => r.id));
  return (
    <>
      <Table label="Windows of live rollouts" rows={shown} id={(r) => r.id} empty={<Empty title="No rollout is live">So no window matters now. Each plan shows its own: <a href="/plans">look at the plans</a>.</Empty>} columns={[
        { head: "Rollout", lead: true, cell: (r) => <a class="long" href={links.rollout(r.id)}>{r.component} {r.version}</a> },
        { head: "Plan", cell: (r) => <a href={links.plan(r.plan)}>{r.plan}</a> },
        { head: "Windows", cell: (r) => <WindowList f={plans.get(r.id)} /> },
        { head: "Now", cell: (r) => <Now r={r} f={plans.get(r.id)} freezes={freezes} /> },
      ]} />
      {live.length > most ? <p class="soft small">Of {count(live.length, "live rollout")} the first {most}.</p> : null}
    </>
  );
}

function Now({ r, f, freezes }: { r: Rollout; f: Frozen | undefined; freezes: readonly Freeze[] }) {
  return (
    <div>
      {f?.plan ? <OpenNow plan={f.plan} freezes={freezes} /> : <span class="soft">…</span>}
      {r.waiting.code === "calendar" ? <div class="long small">The control plane: {r.waiting.text}.</div> : null}
    </div>
  );
}

function WindowList({ f }: { f: Frozen | undefined }) {
  if (!f) return <span class="soft">…</span>;
  if (f.failure) return <span class="soft">cannot be read: {f.failure.detail}</span>;
  const windows = f.plan?.calendar?.windows ?? [];
  const own = f.plan?.calendar?.freezes ?? [];
  if (windows.length === 0 && own.length === 0) return <span class="soft">none: at any time</span>;
  return <ul class="holds-windows">{windows.map((w, i) => <li key={i} class="long">{windowText(w)}</li>)}{own.map((x, i) => <li key={`f${i}`} class="long">not in <bdi>{x.name}</bdi>: {freezeText(x)}</li>)}</ul>;
}

// Freezes.

function FreezeTable({ value, list, running }: { value: Freezes; list: Loaded<Freezes>; running: number }) {
  const at = Math.floor(now.value / 30_000) * 30_000;
  const all = sorted(value.freezes, at);
  const key = (f: Freeze): string => JSON.stringify([f.name, f.from, f.to, f.zone]);
  // A row keeps its key when the list changes around it, or its dialog would close; two that are the same are told apart.
  const rows = all.map((f, i) => ({ f, key: `${key(f)} ${all.slice(0, i).filter((o) => key(o) === key(f)).length}`, s: frozen(f) }));
  return (
    <Table label="Freezes" rows={rows} id={(x) => x.key}
      empty={<Empty title="There is no freeze">Add one for the days on which nobody may be exposed: holidays, a big sale, the end of a quarter.</Empty>}
      rowClass={(x) => (typeof x.s !== "string" && stateOf(x.s, at) === "past" ? "holds-past" : "")} columns={[
        { head: "Freeze", lead: true, cell: (x) => <bdi class="holds-name">{x.f.name}</bdi> },
        { head: "State", cell: (x) => <div><FreezeState freeze={x.f} /> <Left span={x.s} at={at} /></div> },
        { head: "Written", cell: (x) => <>{freezeText(x.f)}</> },
        { head: "In your zone", cell: (x) => (typeof x.s === "string" ? "" : <span>from <When at={x.s.from} quiet /> until <When at={x.s.to} quiet /></span>) },
        { head: "Do", cell: (x) => <span class="holds-do"><EditFreeze old={x.f} list={list} running={running} /><RemoveFreeze old={x.f} list={list} running={running} /></span> },
      ]} />
  );
}

/** Left is how long a freeze goes on, or how long until it begins. */
function Left({ span: s, at }: { span: Span | string; at: number }) {
  if (typeof s === "string") return null;
  const state = stateOf(s, at);
  return <span class="small soft nums">{state === "in force" ? `${span(s.to - at)} more` : state === "coming" ? `begins in ${span(s.from - at)}` : `ended ${ago(s.to, at)}`}</span>;
}

function AddFreeze({ list, running }: { list: Loaded<Freezes>; running: number }) {
  const [open, set] = useState(false);
  return (
    <>
      <button type="button" disabled={list.value === undefined} onClick={() => set(true)}>Add a freeze</button>
      {open && list.value ? <FreezeForm list={list} running={running} close={() => set(false)} /> : null}
    </>
  );
}

function EditFreeze({ old, list, running }: { old: Freeze; list: Loaded<Freezes>; running: number }) {
  const [open, set] = useState(false);
  return (
    <>
      <button type="button" aria-label={`Change the freeze ${old.name}`} onClick={() => set(true)}>Change</button>
      {open ? <FreezeForm old={old} list={list} running={running} close={() => set(false)} /> : null}
    </>
  );
}

/** put sends the list with the tag of the one that it was made of. */
const put = async (freezes: Freeze[], tag: string | undefined): Promise<void> => {
  await api.put("/api/v1/freezes", { body: { freezes, ...(tag ? { tag } : {}) } });
};

const zones = (): string[] => (typeof Intl.supportedValuesOf === "function" ? ["UTC", ...Intl.supportedValuesOf("timeZone").filter((z) => z !== "UTC")] : ["UTC"]);

/** FreezeForm adds a freeze, or changes one. It says what that does before it is done. */
function FreezeForm({ old, list, running, close }: { old?: Freeze; list: Loaded<Freezes>; running: number; close: () => void }) {
  const [name, setName] = useState(old?.name ?? "");
  const [minutes, setMinutes] = useState(old !== undefined && (old.to.includes("T") || old.from.includes("T")));
  const [ends, setEnds] = useState<Ends>(() => (!old ? { from: "", to: "" } : minutes ? byMinutes(old) : byDays(old)));
  const [where, setWhere] = useState(old ? old.zone || "UTC" : zone());
  const form = useSending();
  const freeze: Freeze = { name: name.trim(), ...ends, ...(where.trim() && where.trim() !== "UTC" ? { zone: where.trim() } : {}) };
  const next = edited(list.value?.freezes ?? [], old, freeze);
  const filled = ends.from !== "" && ends.to !== "";
  const wrong = filled ? frozen(freeze) : "";
  const lines = filled ? setting(freeze, clock(), running) : [];
  const path = (field: string): string => `freezes[${next.at}].${field}`;
  const send = async (e: Event): Promise<void> => {
    e.preventDefault();
    if (await form.send(() => put(next.freezes, list.value?.tag))) {
      toast(old ? `the freeze ${called(freeze)} is changed` : `the freeze ${called(freeze)} is set`);
      list.again();
      close();
    }
  };
  const type = minutes ? "datetime-local" : "date";
  return (
    <Dialog title={old ? `Change the freeze ${called(old)}` : "Add a freeze"} close={close}>
      <form onSubmit={(e) => void send(e)}>
        <Field label="Name" path={path("name")} failure={form.failure} value={name} onValue={setName} required maxLength={100} hint="People read it when they ask why nothing moves: Christmas, quarter end." />
        <Select label="Given by" value={minutes ? "minutes" : "days"} onValue={(v) => { setMinutes(v === "minutes"); setEnds(v === "minutes" ? byMinutes(ends) : byDays(ends)); }} options={[["days", "whole days"], ["minutes", "day and time"]]} />
        <div class="holds-dates">
          <Field label="From" path={path("from")} failure={form.failure} type={type} value={ends.from} onValue={(from) => setEnds((e) => ({ ...e, from }))} required />
          <Field label={minutes ? "To" : "To, that day included"} path={path("to")} failure={form.failure} type={type} value={ends.to} onValue={(to) => setEnds((e) => ({ ...e, to }))} required
            wrong={wrong === "it ends before it begins" ? "must be after it begins" : undefined} />
        </div>
        <Field label="Zone" path={path("zone")} failure={form.failure} value={where} onValue={setWhere} list="holds-zones" hint="The clock on the wall by which it is written: an IANA name such as Europe/Vienna, or UTC." />
        <datalist id="holds-zones">{zones().map((z) => <option key={z} value={z} />)}</datalist>
        {lines.length > 0 ? <ul class="holds-consequences" aria-label="What this will do" aria-live="polite">{lines.map((l) => <li key={l}>{l}</li>)}</ul> : null}
        {next.missed ? <p class="old" role="alert">The freeze that you change is not there any more: yours would be added.</p> : null}
        <Refused failure={form.failure} list={list} shown={["name", "from", "to", "zone"].map(path)} clear={form.clear} />
        <div class="dialog-actions"><button type="button" onClick={close}>Leave it</button><button type="submit" class="primary" disabled={form.busy}>{form.busy ? "Sending…" : old ? "Change the freeze" : "Set the freeze"}</button></div>
      </form>
    </Dialog>
  );
}

/** Refused says why nothing was set. If somebody else changed the list meanwhile, it can be read again without losing what was typed. */
function Refused({ failure, list, shown, clear }: { failure: Failure | undefined; list: Loaded<Freezes>; shown: readonly string[]; clear: () => void }) {
  if (!failure) return null;
  return (
    <>
      <FormFailure failure={failure} shown={shown} what={failure.conflict ? "Nothing was changed" : "It was not set"} />
      {failure.conflict ? <p><button type="button" onClick={() => { clear(); list.again(); }}>Read the freezes again, and keep what I typed</button></p> : null}
    </>
  );
}

function RemoveFreeze({ old, list, running }: { old: Freeze; list: Loaded<Freezes>; running: number }) {
  const [open, set] = useState(false);
  const form = useSending();
  const next = edited(list.value?.freezes ?? [], old, undefined);
  const send = async (e: Event): Promise<void> => {
    e.preventDefault();
    if (next.missed || (await form.send(() => put(next.freezes, list.value?.tag)))) {
      toast(`the freeze ${called(old)} is removed`);
      list.again();
      set(false);
    }
  };
  return (
    <>
      <button type="button" class="danger" aria-label={`Remove the freeze ${old.name}`} onClick={() => set(true)}>Remove</button>
      {open ? (
        <Dialog title={`Remove the freeze ${called(old)}`} close={() => set(false)}>
          <form onSubmit={(e) => void send(e)}>
            <p>{freezeText(old)}</p>
            <ul class="holds-consequences" aria-label="What this will do">{lifting(old, clock(), running, next.freezes).map((l) => <li key={l}>{l}</li>)}</ul>
            {next.missed ? <p class="old" role="alert">It is not there any more: somebody removed it, or changed it, meanwhile.</p> : null}
            <Refused failure={form.failure} list={list} shown={[]} clear={form.clear} />
            <div class="dialog-actions"><button type="button" onClick={() => set(false)}>Leave it</button><button type="submit" class="primary danger" disabled={form.busy || next.missed}>{form.busy ? "Sending…" : "Remove the freeze"}</button></div>
          </form>
        </Dialog>
      ) : null}
    </>
  );
}
