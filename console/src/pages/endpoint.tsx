import "./endpoint.css";
import { useState } from "preact/hooks";
import type { Component, Endpoint, LeaseStatus, Next, Report } from "../api";
import { api } from "../client";
import { useEvery } from "../every";
import { count, digest, sentence, whole, words } from "../format";
import { Heard, InstallBadge, PostureBadge, reportTone, toldOf } from "../host";
import * as links from "../links";
import { useLoad } from "../load";
import type { PageProps } from "../pages";
import { atRisk, postures, vital, words as postureWords } from "../posture";
import { go, type ParamsOf } from "../router";
import { Badge, Copy, Dialog, Empty, Facts, FormFailure, Icon, OutcomeBadge, Page, Section, Shown, Table, TextArea, toast, useSending, When } from "../ui";

const pace = 10_000; // milliseconds between two looks at a host

/** EndpointPage shows one host: what it runs, what it gets next and why not yet, and what became of it before. */
export default function EndpointPage({ params }: PageProps<ParamsOf<"/endpoints/:id">>) {
  const { id } = params;
  const host = useLoad(`endpoint ${id}`, (signal) => api.get("/api/v1/endpoints/{id}", { path: { id }, signal }));
  const missing = host.failure?.status === 404;
  useEvery(missing || host.loading ? null : pace, host.again);
  if (missing) {
    return (
      <Page title={`Endpoint ${id}`}>
        <Empty title={`There is no such endpoint: ${id}`}>It never joined, or it was forgotten. <a href={links.hosts()}>Look for it in the fleet</a>.</Empty>
      </Page>
    );
  }
  const e = host.value;
  return (
    <Page title={id} heading={e ? <><span>{id}<Copy text={id} what="the endpoint's id" /></span> {e.revoked ? <Badge tone="harm" shape="stopped">revoked</Badge> : null}{atRisk(e.posture) ? <Badge tone="amber" title="A boot loop of this host needs hands.">at risk</Badge> : null}</> : undefined}
      lead={e ? <Lead e={e} /> : undefined} actions={e && !e.revoked ? <Commands e={e} changed={host.again} /> : undefined}>
      <Shown of={host} what={`endpoint ${id}`}>{(x) => <Everything e={x} />}</Shown>
    </Page>
  );
}

function Lead({ e }: { e: Endpoint }) {
  return (
    <>
      <span>tenant <a href={links.hosts({ select: [`tenant=${e.tenant}`] })}>{e.tenant}</a></span>
      <span>heard <Heard of={e} /></span>
      <span>joined <When at={e.enrolled} /></span>
    </>
  );
}

function Everything({ e }: { e: Endpoint }) {
  return (
    <>
      <Signs e={e} />
      <Section title="What it runs"><Runs e={e} /></Section>
      <div class="grid">
        <div>
          <Section title="What it gets next"><Coming e={e} /></Section>
          <Section title="Attributes and labels"><Attributes e={e} /></Section>
        </div>
        <Section title="Posture" aside={<PostureBadge of={e.posture} />}><PostureWords e={e} /></Section>
      </div>
      <Leases e={e} />
      <Reports e={e} />
    </>
  );
}

/** Signs say that the identity is not sound: it was revoked, or two hosts use it. */
function Signs({ e }: { e: Endpoint }) {
  return (
    <>
      {e.revoked ? (
        <p class="endpoint-signs harm"><Icon shape="stopped" /> <b>Its identity was revoked</b> <When at={e.revoked} form="both" />{e.why ? <>: {e.why}</> : null}. Its key is refused; what is shown is what it said last. It stays in the list so that its key cannot join again; the host comes back with a new key, by <code>firebreak-agent join</code>.</p>
      ) : null}
      {e.twins ? (
        <p class="endpoint-signs"><Icon shape="amber" /> <b>Two hosts may have this identity</b>, as after a disk was cloned: {count(e.twins.signs, "sign")}, the last <When at={e.twins.last} form="ago" />: {e.twins.sign}.
          Give one of them a new identity: <code>firebreak-agent join</code> there.</p>
      ) : null}
    </>
  );
}

type Row = [name: string, state: Component];

function Runs({ e }: { e: Endpoint }) {
  const rows: Row[] = Object.entries(e.components ?? {}).sort(([a], [b]) => a.localeCompare(b));
  const quarantine = rows.some(([, c]) => (c.refuses ?? []).length > 0);
  return (
    <>
      <Table label="Components" rows={rows} id={([name]) => name} empty={<Empty title="It has no component yet">Components come from files in <code>components.d</code> on the host.</Empty>} columns={[
        { head: "Component", lead: true, cell: ([name, c]) => <><span class="long">{name}</span> <span class="soft small">{c.kind}</span></> },
        { head: "Version", cell: ([name, c]) => (c.version ? <a class="long" href={links.release(name, c.version)}>{c.version}</a> : <span class="soft">none yet</span>) },
        { head: "Goes back to", cell: ([name, c]) => (c.previous ? <a class="long" href={links.release(name, c.previous)}>{c.previous}</a> : <span class="soft">nothing</span>) },
        { head: "Consumer", cell: ([, c]) => (c.consumer ? <span class="long">{c.consumer}</span> : null) },
        { head: "Phase", cell: ([, c]) => <><InstallBadge of={c} />{c.why ? <div class="small long">{sentence(c.why)}</div> : null}</> },
        { head: "In quarantine", cell: ([name, c]) => <Refused e={e} name={name} c={c} /> },
      ]} />
      {quarantine ? <p class="soft small">A release in quarantine harmed this host, or was recalled while the host prepared it, or its preflight said no: the host does not try it again by itself. Whoever is sure that the cause is gone says so on the host: <code>firebreak-agent forgive</code>.</p> : null}
    </>
  );
}

function Refused({ e, name, c }: { e: Endpoint; name: string; c: Component }) {
  const all = c.refuses ?? [];
  const releases = useLoad(all.length > 0 ? `releases ${name}` : null, (signal) => api.get("/api/v1/releases", { query: { component: name, limit: 200 }, signal }));
  if (all.length === 0) return <span class="soft">none</span>;
  return (
    <ul class="endpoint-refused">
      {all.map((manifest) => {
        const told = toldOf(e, name, manifest);
        const release = releases.value?.items.find((r) => r.manifest === manifest);
        const version = release?.version ?? told.version;
        return (
          <li key={manifest}>
            <Icon shape="stopped" class="ink-amber" /> {version ? <a class="long" href={links.release(name, version)}>{version}</a> : <code title={manifest}>{digest(manifest)}</code>}
            {release?.state === "recalled" ? <span class="small">, recalled</span> : null}
            {told.outcome ? <span class="small long">; {words(told.outcome)} here{told.at ? <> <When at={told.at} form="ago" quiet /></> : null}{told.why ? `: ${told.why}` : ""}</span> : null}
          </li>
        );
      })}
    </ul>
  );
}

function Coming({ e }: { e: Endpoint }) {
  const next = e.next ?? [];
  if (e.revoked) return <p class="soft">Nothing: its identity was revoked.</p>;
  if (next.length === 0) return <p class="soft">No release is on its way to it. That is also what is said while nobody decides, as just after a start.</p>;
  return (
    <>
      {next.map((n) => <NextUp key={n.component + n.rollout} n={n} />)}
      <p class="soft small">To keep a release from this host and those like it, hold it on the rollout, by an attribute that they share.</p>
    </>
  );
}

function NextUp({ n }: { n: Next }) {
  return (
    <div class={`endpoint-next ${n.code === "quarantine" ? "amber" : ""}`}>
      <p><a href={links.release(n.component, n.version)}>{n.component} {n.version}</a> {n.code ? <Badge tone={n.code === "quarantine" ? "amber" : "idle"} shape={n.code === "quarantine" ? "stopped" : "asked"}>{n.code === "quarantine" ? "in quarantine" : "not yet"}</Badge> : <Badge tone="busy">as soon as it asks</Badge>} <a class="small" href={links.rollout(n.rollout)}>rollout {n.rollout}</a></p>
      <p>{sentence(n.text)}</p>
    </div>
  );
}

function PostureWords({ e }: { e: Endpoint }) {
  if (!e.posture) return <p><Icon shape="asked" class="ink-amber" /> The host has not said what it could survive alone. It counts as at risk, and as if it had nothing.</p>;
  const missing = new Set(e.posture.missing ?? []);
  const known = [...postureWords.filter((w) => missing.has(w)), ...postureWords.filter((w) => !missing.has(w))];
  const risky = known.filter((w) => missing.has(w) && vital.has(w));
  return (
    <>
      <p>{risky.length > 0 ? <><b>A boot loop of this host needs hands.</b> It lacks what brings a host back from a panic in every boot.</> : "It comes back by itself from a panic in every boot."}</p>
      <ul class="endpoint-words">
        {known.map((w) => (
          <li key={w}>
            <span>{missing.has(w) ? <Badge tone={vital.has(w) ? "amber" : "idle"} shape={vital.has(w) ? "amber" : "idle"}>{w}</Badge> : <Badge tone="good">{w}</Badge>}</span>
            <span class="small">{missing.has(w) ? <>Missing: {postures[w].cure}.</> : <span class="soft">{sentence(postures[w].has)}</span>}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

function Attributes({ e }: { e: Endpoint }) {
  const like = (key: string, value: string) => <a class="long" href={links.hosts({ select: [`${key}=${value}`] })}>{value}</a>;
  const a = e.attributes;
  const all: [string, string | undefined][] = [["class", a.class], ["os", a.os], ["version", a.version], ["kernel", a.kernel], ["arch", a.arch], ["region", a.region], ["site", a.site]];
  const labels = Object.entries(e.labels ?? {}).sort(([x], [y]) => x.localeCompare(y)).map(([k, v]) => [`label.${k}`, v] as const);
  const said = [...all, ...labels].filter((pair): pair is [string, string] => !!pair[1]);
  if (said.length === 0) return <p class="soft">It has said nothing of itself.</p>;
  return <Facts of={said.map(([k, v]) => [k, like(k, v)] as const)} />;
}

// What became of it.

/** releasesOf names the releases of rollouts, as far as reports and what comes next tell. */
function releasesOf(e: Endpoint): Map<string, string> {
  const all = new Map<string, string>();
  for (const n of e.next ?? []) all.set(n.rollout, `${n.component} ${n.version}`);
  for (const r of e.reports ?? []) if (r.rollout && r.release) all.set(r.rollout, `${r.component} ${r.release}`);
  return all;
}

function Leases({ e }: { e: Endpoint }) {
  const names = releasesOf(e);
  const newest = [...(e.leases ?? [])].sort((a, b) => b.issued.localeCompare(a.issued));
  return (
    <Section title="Leases" aside="what it was allowed to activate, and what became of it; newest first">
      <Table label="Leases" rows={newest} id={(l: LeaseStatus) => l.rollout} empty={<p class="soft">It never got a lease.</p>} columns={[
        { head: "Rollout", lead: true, cell: (l) => <><a class="endpoint-name long" href={links.rollout(l.rollout)}>{names.get(l.rollout) ?? l.rollout}</a>{names.has(l.rollout) ? <div class="soft small">{l.rollout}</div> : null}</> },
        { head: "Outcome", cell: (l) => <OutcomeBadge outcome={l.outcome} /> },
        { head: "Lease", cell: (l) => <When at={l.issued} quiet /> },
        { head: "Known", cell: (l) => (l.known ? <When at={l.known} quiet /> : <span class="soft">by <When at={l.deadline} quiet /></span>) },
        { head: "Detail", cell: (l) => (l.detail || l.recovered ? <span class="long small">{sentence(l.detail ?? "")}{l.recovered ? <> <Icon shape="good" class="ink-good" /> Well again since <When at={l.recovered} quiet />.</> : null}</span> : null) },
      ]} />
    </Section>
  );
}

function Reports({ e }: { e: Endpoint }) {
  const all = e.reports ?? [];
  const boots = all.filter((r) => r.outcome === "booted");
  return (
    <Section title="Reports and boots" aside={all.length > 0 ? <>{all.length >= 50 ? "the last 50" : whole(all.length)}, {count(boots.length, "boot")} among them{boots[0] ? <>, the last <When at={boots[0].at} form="ago" quiet /></> : null}</> : undefined}>
      <Table label="Reports" rows={all} id={(r: Report) => String(r.seq)} empty={<p class="soft">No report of it is kept.</p>} columns={[
        { head: "Report", lead: true, cell: (r) => (reportTone(r.outcome) ? <Badge tone={reportTone(r.outcome)!}>{words(r.outcome)}</Badge> : <OutcomeBadge outcome={r.outcome} />) },
        { head: "When", cell: (r) => <When at={r.at} quiet /> },
        { head: "Release", cell: (r) => <span class="endpoint-name long">{r.component} {r.release ? <a href={links.release(r.component, r.release)}>{r.release}</a> : null}{r.rollout ? <> <a class="small" href={links.rollout(r.rollout)}>rollout</a></> : null}</span> },
        { head: "What it said", cell: (r) => (r.detail || r.crash ? <span class="long small">{sentence(r.detail ?? "")}{r.crash && !(r.detail ?? "").includes(r.crash.headline) ? <> <Crashed of={r.crash} /></> : null}</span> : null) },
      ]} />
      {all.length > 0 ? <p class="soft small">Times are those of the host's own clock.</p> : null}
    </Section>
  );
}

function Crashed({ of }: { of: NonNullable<Report["crash"]> }) {
  return <>{of.signal ? <>Signal <code>{of.signal}</code>. </> : of.status !== 0 ? <>Exit status {of.status}. </> : null}{of.headline ? <code>{of.headline}</code> : null}{of.signature ? <span class="soft"> signature {of.signature.slice(0, 12)}</span> : null}</>;
}

// What can be done to it.

function Commands({ e, changed }: { e: Endpoint; changed: () => void }) {
  const [open, set] = useState<"revoke" | "forget" | null>(null);
  return (
    <>
      <button type="button" class="danger" onClick={() => set("revoke")}>Revoke its identity</button>
      <button type="button" onClick={() => set("forget")}>Forget it</button>
      {open === "revoke" ? <Revoke e={e} close={() => set(null)} done={() => { set(null); changed(); }} /> : null}
      {open === "forget" ? <Forget e={e} close={() => set(null)} /> : null}
    </>
  );
}

const pending = (e: Endpoint): number => (e.leases ?? []).filter((l) => l.outcome === "pending").length;

/** leaves says what an end of the identity does to rollouts. */
function leaves(e: Endpoint): string {
  const n = pending(e);
  return n === 0 ? "It is under way in no rollout, so none notices." : `It is under way in ${count(n, "rollout")}, and leaves ${n === 1 ? "it" : "them"} with a goodbye: that does not count as harm.`;
}

function Revoke({ e, close, done }: { e: Endpoint; close: () => void; done: () => void }) {
  const [reason, setReason] = useState("");
  const form = useSending();
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (await form.send(async () => { await api.post("/api/v1/endpoints/{id}/revoke", { path: { id: e.id }, body: { reason: reason.trim() } }); })) {
      toast(`the identity of ${e.id} is revoked`);
      done();
    }
  };
  return (
    <Dialog title={`Revoke the identity of ${e.id}`} close={close}>
      <form class="endpoint-act" onSubmit={(event) => void send(event)}>
        <ul>
          <li>Its key is refused from now on, for good: it gets nothing new, and nobody hears of it any more.</li>
          <li>What runs on it goes on running. It still goes back by itself from what harms it.</li>
          <li>{leaves(e)}</li>
          <li>This is not undone. The host comes back only by joining anew, with a new key and a new token. To let a host join again with its key, forget it instead.</li>
        </ul>
        <TextArea label="Reason" path="reason" failure={form.failure} value={reason} onValue={setReason} hint="For a key that may be in wrong hands. The host is told it, and it is kept with the endpoint." />
        <FormFailure failure={form.failure} shown={["reason"]} what="It was not revoked" />
        <div class="dialog-actions">
          <button type="button" onClick={close}>Leave it</button>
          <button type="submit" class="primary danger" disabled={form.busy || reason.trim() === ""}>{form.busy ? "Sending…" : "Revoke"}</button>
        </div>
      </form>
    </Dialog>
  );
}

function Forget({ e, close }: { e: Endpoint; close: () => void }) {
  const form = useSending();
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    await form.send(async () => {
      await api.delete("/api/v1/endpoints/{id}", { path: { id: e.id } });
      toast(`${e.id} is forgotten`);
      go(links.hosts());
    });
  };
  return (
    <Dialog title={`Forget ${e.id}`} close={close}>
      <form class="endpoint-act" onSubmit={(event) => void send(event)}>
        <ul>
          <li>For a host that is gone: it is taken off the list, and counts as silent no more.</li>
          <li>If it is not gone its key is refused, until it joins again: that it may.</li>
          <li>{leaves(e)}</li>
          <li>What is stored of rollouts and incidents keeps its name.</li>
        </ul>
        <FormFailure failure={form.failure} shown={[]} what="It was not forgotten" />
        <div class="dialog-actions">
          <button type="button" onClick={close}>Leave it</button>
          <button type="submit" class="primary danger" disabled={form.busy}>{form.busy ? "Sending…" : "Forget"}</button>
        </div>
      </form>
    </Dialog>
  );
}
