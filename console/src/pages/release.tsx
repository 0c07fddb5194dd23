import "./release.css";
import type { Release, Rollout } from "../api";
import { api } from "../client";
import { useEvery } from "../every";
import { bytes, count, digest, sentence, whole } from "../format";
import * as links from "../links";
import { useLoad } from "../load";
import type { PageProps } from "../pages";
import { readPlan } from "../plan";
import { PlanCalendar, PlanRings, PlanRules } from "../planview";
import { artifactOf, platformText, readManifest, type Manifest } from "../release";
import { href, type ParamsOf } from "../router";
import { Badge, Code, Empty, Facts, Figure, Figures, Icon, Num, Page, PhaseBadge, Section, Shown, Table, When } from "../ui";

const pace = 30_000; // milliseconds between counts of the hosts that run it

/** ReleasePage shows one release: who vouched for it, what it needs, and where it runs. */
export default function ReleasePage({ params }: PageProps<ParamsOf<"/releases/:component/:version">>) {
  const { component, version } = params;
  const found = useLoad(`release ${component} ${version}`, (signal) => api.get("/api/v1/releases/{component}/{version}", { path: { component, version }, signal }));
  useEvery(found.loading || found.failure?.status === 404 ? null : pace, found.again);
  const r = found.value;
  const title = `${component} ${version}`;
  if (found.failure?.status === 404) {
    return (
      <Page title={title}>
        <Empty title={`There is no release ${title}`}>{sentence(found.failure.detail)} <a href={href("/releases", undefined, { component })}>Look at the releases of {component}</a>.</Empty>
      </Page>
    );
  }
  return (
    <Page title={title} heading={<>{title}{r ? <>{r.state === "recalled" ? <Badge tone="harm">recalled</Badge> : <Badge tone="good">published</Badge>}</> : null}</>}
      lead={r ? <><Code text={r.manifest} short={digest(r.manifest)} what="the manifest's digest" /><span>serial {whole(r.serial)}</span><span>made <When at={r.created} form="both" /></span></> : undefined}
      actions={r && r.state !== "recalled" ? <a class="button release-start" href={href("/rollouts", undefined, { start: true, component, version })}>Start a rollout</a> : undefined}>
      <Shown of={found} what={`release ${title}`}>{(x) => <Everything r={x} />}</Shown>
    </Page>
  );
}

function Everything({ r }: { r: Release }) {
  const m = readManifest(r.document);
  return (
    <>
      {r.state === "recalled" ? <Recalled r={r} /> : null}
      <Figures label="Where it runs">
        <Figure name="Hosts that run it" value={r.hosts ?? 0} href={links.hosts({ component: r.component, version: r.version })} tone={r.state === "recalled" && (r.hosts ?? 0) > 0 ? "harm" : undefined}
          note={r.state === "recalled" && (r.hosts ?? 0) > 0 ? "they go back when they check in" : undefined} />
        <Figure name="Heard lately" value={r.heard ?? 0} of={r.hosts ?? 0} note="in the last 15 minutes" />
        <Figure name="Rollouts" value={(r.rollouts ?? []).length} href="#rollouts" />
      </Figures>
      <div class="grid">
        <Validation r={r} m={m} />
        <Signatures r={r} />
      </div>
      <Contract m={m} />
      <Rollouts r={r} />
      <SignedPlan m={m} component={r.component} />
    </>
  );
}

function Recalled({ r }: { r: Release }) {
  const c = r.recalled;
  return (
    <div class="release-recalled" role="note">
      <Icon shape="harm" /> <b>It was recalled{c ? <> <When at={c.at} form="both" /></> : null}</b>{c?.reason ? <>: {sentence(c.reason)}</> : "."} No host may run it again, ever, and no rollout of it can be started: mend it and publish the mended one as a new version.
      {c?.rollout ? <> Its <a href={links.rollout(c.rollout)}>rollout {c.rollout}</a> says what was seen.</> : null}
    </div>
  );
}

function Validation({ r, m }: { r: Release; m: Manifest | undefined }) {
  return (
    <Section title="Validation" aside={r.validated ? <Badge tone="good">validated</Badge> : <Badge tone="amber" shape="asked">no passing verdict for all of it</Badge>}>
      <Table label="Verdicts of validators" rows={(r.verdicts ?? []).map((v, i) => ({ ...v, i }))} id={(v) => String(v.i)}
        empty={<p class="soft">Nobody judged it before it was signed: its component does not ask for validation.</p>} columns={[
          { head: "Validator", lead: true, cell: (v) => <code class="long">{v.validator}</code> },
          { head: "Verdict", cell: (v) => (v.passed ? <Badge tone="good">passed</Badge> : <Badge tone="harm">failed</Badge>) },
          { head: "Looked at", cell: (v) => <span title={v.artifact}>{artifactOf(m, v.artifact)}</span> },
          { head: "When", cell: (v) => (v.at ? <When at={v.at} quiet /> : <span class="soft">not said</span>) },
          { head: "It said", cell: (v) => <span class="long small">{v.detail || <span class="soft">nothing</span>}</span> },
        ]} />
    </Section>
  );
}

function Signatures({ r }: { r: Release }) {
  return (
    <Section title="Signatures" aside="that were verified when it came">
      <Table label="Signatures" rows={r.signatures ?? []} id={(s) => s.role + s.key} empty={<p class="soft">No signature is kept of the metadata that names it.</p>} columns={[
        { head: "Role", lead: true, cell: (s) => <code class="long">{s.role}</code> },
        { head: "Key", cell: (s) => <Code text={s.key} short={digest(s.key)} what={`the id of the key of ${s.role}`} /> },
      ]} />
      <p class="soft small release-note">The keys are the publisher's; the control plane does not have them. Every host verifies them for itself.</p>
    </Section>
  );
}

function Contract({ m }: { m: Manifest | undefined }) {
  if (!m) return <Section title="Contract"><p class="soft">The control plane sent no manifest.</p></Section>;
  return (
    <Section title="Contract" aside="of its signed manifest">
      <Facts of={[
        ["Kind", m.kind],
        ["Needs of a host", m.contract.length > 0 ? <ul class="plan-asks">{m.contract.map(([k, v]) => <li key={k}><code>{k}</code> = <code>{v}</code></li>)}</ul> : "nothing beyond its component"],
        ["Floor", m.floor > 0 ? `hosts that saw it never go below serial ${whole(m.floor)} again` : "none: hosts may go back to any older release that is not recalled"],
        ["Probes, soak", "each host's own component file says how it is probed, and how long it must be well to be confirmed"],
      ]} />
      <div class="release-note">
        <Table label="Artifacts" rows={m.artifacts} id={(a) => a.platform} empty={<p class="soft">The manifest names no artifact.</p>} columns={[
          { head: "For", lead: true, cell: (a) => platformText(a) }, { head: "File", cell: (a) => <span class="long">{a.name}{a.format === "tar" ? <span class="soft"> (a directory)</span> : null}</span> },
          { head: "Size", end: true, cell: (a) => <span class="nums" title={`${whole(a.size)} bytes`}>{bytes(a.size)}</span> },
          { head: "Digest", cell: (a) => <Code text={a.digest} short={digest(a.digest)} what={`the digest of the artifact for ${platformText(a)}`} /> },
        ]} />
      </div>
    </Section>
  );
}

function Rollouts({ r }: { r: Release }) {
  const ids = r.rollouts ?? [];
  // The list of the component's newest rollouts knows most of them; what it does not know is shown by its id.
  const known = useLoad(ids.length > 0 ? `rollouts of ${r.component}` : null, (signal) => api.get("/api/v1/rollouts", { query: { component: r.component, limit: 200 }, signal }));
  const byId = new Map((known.value?.items ?? []).map((x) => [x.id, x]));
  const rows: { id: string; r?: Rollout | undefined }[] = ids.map((id) => ({ id, r: byId.get(id) }));
  return (
    <Section title="Rollouts" aside="the newest first">
      <Table label={`Rollouts of ${r.component} ${r.version}`} rows={rows} id={(x) => x.id}
        empty={<Empty title="It was never rolled out">{r.state === "recalled" ? "And never will be: it was recalled." : <a href={href("/rollouts", undefined, { start: true, component: r.component, version: r.version })}>Start a rollout of it</a>}</Empty>} columns={[
          { head: "Rollout", lead: true, cell: (x) => <a class="long" href={links.rollout(x.id)}>{x.id}</a> },
          { head: "Phase", cell: (x) => (x.r ? <PhaseBadge phase={x.r.phase} /> : <span class="soft">{known.loading ? "…" : "look at it"}</span>) },
          { head: "Exposed", end: true, cell: (x) => (x.r ? <Num value={x.r.exposed} href={links.leases(x.id)} label="exposed hosts" /> : "") },
          { head: "Harmed", end: true, cell: (x) => (x.r ? <span class={x.r.harmed > 0 ? "ink-harm" : ""}>{x.r.harmed > 0 ? <Icon shape="harm" /> : null} <Num value={x.r.harmed} href={x.r.harmed > 0 ? links.leases(x.id, "harmed") : undefined} label="harmed hosts" /></span> : "") },
          { head: "Plan", cell: (x) => (x.r ? <a href={links.plan(x.r.plan)}>{x.r.plan}</a> : "") },
          { head: "Started", cell: (x) => (x.r ? <When at={x.r.started} quiet /> : "") },
        ]} />
    </Section>
  );
}

/** SignedPlan is the schedule that no rollout of the release may outrun. */
function SignedPlan({ m, component }: { m: Manifest | undefined; component: string }) {
  const plan = readPlan(m?.plan);
  if (!plan) return null;
  return (
    <Section title="Plan signed with it" aside={<a class="long" href={links.plan(plan.name)}>{plan.name}</a>}>
      <p>No rollout of it may be wider or faster than this: {count(plan.rings.length, "ring")}, {plan.rings.map((r) => r.name).join(", ")}. What is stored under the same name may have changed since.</p>
      <details>
        <summary>The plan as it was signed</summary>
        <div class="stack plan-more"><PlanRings plan={plan} component={component} /><PlanRules plan={plan} /><PlanCalendar plan={plan} /></div>
      </details>
    </Section>
  );
}
