import { useState } from "preact/hooks";
import type { Rollout, StartRollout } from "../api";
import { api } from "../client";
import { count, whole, words } from "../format";
import * as links from "../links";
import { useDebounced, useList, useLoad } from "../load";
import type { PageProps } from "../pages";
import { go, setQuery } from "../router";
import { AlarmBadge, Dialog, Empty, Field, FormFailure, Icon, Num, Page, PhaseBadge, Select, Table, TextArea, toast, useSending, When } from "../ui";
import { waits } from "../waiting";

const phases = ["proposed", "running", "paused", "complete", "halted", "tripped", "rolled_back"] as const;

/** RolloutsPage lists rollouts, newest first, and starts them. */
export default function RolloutsPage({ query }: PageProps) {
  const phase = query.get("phase") ?? (query.get("active") === "true" ? "active" : "");
  const typed = query.get("component") ?? "";
  const component = useDebounced(typed);
  const only = phases.filter((p) => p === phase);
  const ask = { ...(component ? { component } : {}), ...(phase === "active" ? { active: true } : only.length > 0 ? { phase: only } : {}) };
  const found = useList<Rollout>(`rollouts ${JSON.stringify(ask)}`, (after, signal) =>
    api.get("/api/v1/rollouts", { query: { ...ask, limit: 50, ...(after ? { after } : {}) }, signal }));
  const filtered = phase !== "" || typed !== "";
  const start = query.has("start");
  return (
    <Page title="Rollouts" lead="One release going through one plan, the newest first." actions={<button type="button" class="primary" onClick={() => setQuery({ start: true })}>Start a rollout</button>}>
      <div class="filters" role="search">
        <Select label="Phase" value={phase} onValue={(v) => setQuery({ phase: v === "active" ? "" : v, active: v === "active" })} options={[["", "any"], ["active", "not ended"], ...phases.map((p) => [p, words(p)] as const)]} />
        <Field label="Component" search value={typed} onValue={(v) => setQuery({ component: v })} placeholder="all" type="search" list="rollouts-components" />
      </div>
      <Components id="rollouts-components" />
      <Table label="Rollouts" rows={found.items} id={(r) => r.id} list={found} noun={["rollout", "rollouts"]}
        empty={filtered ? <Empty title="No rollout is like that"><button type="button" class="bare" onClick={() => setQuery({ phase: "", active: "", component: "" })}>Show all rollouts</button></Empty>
          : <Empty title="There is no rollout yet">Publish a release (<code>firebreak release publish</code>), then start a rollout of it here.</Empty>}
        columns={[
          { head: "Release", lead: true, cell: (r) => <a class="long" href={links.rollout(r.id)}>{r.component} {r.version}</a> },
          { head: "Phase", cell: (r) => <PhaseBadge phase={r.phase} /> },
          { head: "Breaker", cell: (r) => <AlarmBadge alarm={r.alarm} /> },
          { head: "Exposed", end: true, cell: (r) => <><Num value={r.exposed} href={links.leases(r.id)} label="exposed hosts" /><span class="soft"> of {whole(r.eligible)}</span></> },
          { head: "Harmed", end: true, cell: (r) => <span class={r.harmed > 0 ? "ink-harm" : ""}>{r.harmed > 0 ? <Icon shape="harm" /> : null} <Num value={r.harmed} href={r.harmed > 0 ? links.leases(r.id, "harmed") : undefined} label="harmed hosts" /></span> },
          { head: "Plan", cell: (r) => <a href={links.plan(r.plan)}>{r.plan}</a> },
          { head: "Started", cell: (r) => <When at={r.started} quiet /> },
          { head: "Why", cell: (r) => <span class="long small">{waits(r)}</span> },
        ]} />
      {start ? <Start component={query.get("component") ?? ""} version={query.get("version") ?? ""} close={() => setQuery({ start: "", version: "" })} /> : null}
    </Page>
  );
}

function Components({ id }: { id: string }) {
  const all = useLoad("components", (signal) => api.get("/api/v1/components", { query: { limit: 200 }, signal }));
  return <datalist id={id}>{(all.value?.items ?? []).map((c) => <option key={c.name} value={c.name} />)}</datalist>;
}

/** Start is the form that starts a rollout. */
function Start({ component: of, version: at, close }: { component: string; version: string; close: () => void }) {
  const [component, setComponent] = useState(of);
  const [version, setVersion] = useState(at);
  const [plan, setPlan] = useState("");
  const [reason, setReason] = useState("");
  const form = useSending();
  const named = useDebounced(component.trim(), 300);
  const releases = useLoad(named ? `releases ${named}` : null, (signal) => api.get("/api/v1/releases", { query: { component: named, limit: 100 }, signal }));
  const plans = useLoad("plans", (signal) => api.get("/api/v1/plans", { query: { limit: 200 }, signal }));
  const release = releases.value?.items.find((r) => r.version === version.trim());
  const chosen = plans.value?.items.find((p) => p.name === plan);
  const send = async (e: Event): Promise<void> => {
    e.preventDefault();
    const body: StartRollout = { component: component.trim(), version: version.trim(), ...(plan ? { plan } : {}), ...(reason.trim() ? { reason: reason.trim() } : {}) };
    await form.send(async () => {
      const r = await api.post("/api/v1/rollouts", { body });
      toast(r.phase === "proposed" ? `${r.component} ${r.version} waits for more people to agree` : `${r.component} ${r.version} is started`);
      go(links.rollout(r.id));
    });
  };
  return (
    <Dialog title="Start a rollout" close={close}>
      <form onSubmit={(e) => void send(e)}>
        <Field label="Component" path="component" failure={form.failure} value={component} onValue={setComponent} required list="start-components" />
        <Components id="start-components" />
        <Field label="Version" path="version" failure={form.failure} value={version} onValue={setVersion} required list="start-versions"
          hint={release ? (release.state === "recalled" ? "This release was recalled: it must not run again anywhere." : <>published <When at={release.created} form="ago" quiet />{release.validated ? ", validated" : ", not validated"}</>) : named && releases.value?.items.length === 0 ? "This component has no release." : undefined} />
        <datalist id="start-versions">{(releases.value?.items ?? []).filter((r) => r.state === "published").map((r) => <option key={r.version} value={r.version} />)}</datalist>
        <Select label="Plan" path="plan" failure={form.failure} value={plan} onValue={setPlan} options={[["", "the one signed with the release"], ...(plans.value?.items ?? []).map((p) => [p.name, p.name] as const)]}
          hint={chosen ? `${count(chosen.rings, "ring")}; a bad release harms ${count(chosen.bound, "host")} at most, on average.` : "A stored plan may only be slower than the signed one."} />
        <TextArea label="Reason" path="reason" failure={form.failure} value={reason} onValue={setReason} />
        <p class="soft small">The first ring opens at once, unless the plan asks for more people to agree or a window is closed. Every further ring waits for its evidence; the breaker stops it by itself.</p>
        <FormFailure failure={form.failure} shown={["component", "version", "plan", "reason"]} what="It was not started" />
        <div class="dialog-actions"><button type="button" onClick={close}>Leave it</button><button type="submit" class="primary" disabled={form.busy}>{form.busy ? "Starting…" : "Start"}</button></div>
      </form>
    </Dialog>
  );
}
