import type { PlanCheck, StoredPlan } from "../api";
import { api } from "../client";
import { useCurrent } from "../current";
import { count } from "../format";
import * as links from "../links";
import { useLoad } from "../load";
import type { PageProps } from "../pages";
import { readPlan } from "../plan";
import { Bound, Cost, PlanCalendar, PlanChanges, PlanRings, PlanRules } from "../planview";
import { href, setQuery, type ParamsOf } from "../router";
import { Badge, Empty, Page, PhaseBadge, Section, Select, Shown, When } from "../ui";

/** PlanPage shows one stored plan: its rings, its bound, what bad releases would cost under it. */
export default function PlanPage({ params, query }: PageProps<ParamsOf<"/plans/:name">>) {
  const { name } = params;
  const stored = useLoad(`plan ${name}`, (signal) => api.get("/api/v1/plans/{name}", { path: { name }, signal }));
  const p = stored.value;
  const plan = readPlan(p?.plan);
  if (stored.failure?.status === 404) {
    return (
      <Page title={`Plan ${name}`}>
        <Empty title={`There is no plan ${name}`}>A rollout can go by a plan that was signed with its release and is not stored: its release shows it. <a href="/plans">Look at the stored plans</a>.</Empty>
      </Page>
    );
  }
  return (
    <Page title={`Plan ${name}`} heading={<>{name}{plan?.emergency ? <Badge tone="amber">emergency</Badge> : null}</>}
      lead={p ? <><span>stored <When at={p.updated} form="both" /></span><span>{count(p.rings, "ring")}</span><span>harms {count(p.bound, "host")} at most, on average</span></> : undefined}
      actions={p ? <a class="button" href={href("/plans", undefined, { edit: name })}>Change it</a> : undefined}>
      <Shown of={stored} what={`plan ${name}`}>{(s) => <Everything s={s} query={query} />}</Shown>
    </Page>
  );
}

function Everything({ s, query }: { s: StoredPlan; query: URLSearchParams }) {
  const plan = readPlan(s.plan);
  const check = useLoad<PlanCheck>(`check of ${s.name} ${s.updated}`, (signal) => api.post("/api/v1/plans/check", { body: s.plan, signal }));
  if (!plan) return <Empty title="This console cannot draw the plan">It was stored by a version that writes plans in another way: <code>firebreak plan show {s.name}</code>.</Empty>;
  return (
    <>
      <Section title="Rings" aside="few before many"><PlanRings plan={plan} /></Section>
      <div class="grid">
        <Section title="Bound" aside="by arithmetic alone"><Shown of={check} what="the arithmetic">{(c) => <Bound check={c} />}</Shown></Section>
        <Section title="What a bad release would cost"><Cost plan={s.name} key={s.name} /></Section>
        <Section title="Rules"><PlanRules plan={plan} /></Section>
        <Section title="Calendar" aside="when leases are granted"><PlanCalendar plan={plan} /></Section>
        <Used name={s.name} />
        <Compare s={s} query={query} />
      </div>
    </>
  );
}

/** Used says who goes by a plan: components whose releases are published with it, and live rollouts. */
function Used({ name }: { name: string }) {
  const components = useLoad("components", (signal) => api.get("/api/v1/components", { query: { limit: 200 }, signal }));
  const overview = useCurrent("overview", (signal) => api.get("/api/v1/overview", { signal }));
  const mine = (components.value?.items ?? []).filter((c) => c.plan === name);
  const live = Object.values(overview.value?.rollouts ?? {}).filter((r) => r.plan === name && !r.ended);
  return (
    <Section title="Who goes by it">
      <Shown of={components} what="components">{() => (
        <p>{mine.length === 0 ? "No component's releases are published with it by default." : <>Releases of {mine.map((c, i) => <>{i > 0 ? ", " : ""}<a key={c.name} href={href("/releases", undefined, { component: c.name })}>{c.name}</a></>)} are published with it, if nothing else is said.</>}</p>
      )}</Shown>
      <Shown of={overview} what="live rollouts">{() => (live.length === 0 ? <p class="soft">No live rollout goes by a plan of this name.</p> : (
        <ul>{live.map((r) => <li key={r.id}><a class="long" href={links.rollout(r.id)}>{r.component} {r.version}</a> <PhaseBadge phase={r.phase} /></li>)}</ul>
      ))}</Shown>
      <p class="soft small">A rollout keeps the plan as it was when it started; what is stored under the name may have changed since.</p>
    </Section>
  );
}

function Compare({ s, query }: { s: StoredPlan; query: URLSearchParams }) {
  const other = query.get("with") ?? "";
  const plans = useLoad("plan names", (signal) => api.get("/api/v1/plans", { query: { limit: 200 }, signal }));
  const found = plans.value?.items.find((p) => p.name === other);
  const rest = (plans.value?.items ?? []).filter((p) => p.name !== s.name);
  if (rest.length === 0) return null;
  return (
    <Section title="Compare" aside="what two plans have differently" wide={found !== undefined}>
      <div class="filters"><Select label="With" value={other} onValue={(v) => setQuery({ with: v })} options={[["", "another stored plan…"], ...rest.map((p) => [p.name, p.name] as const)]} /></div>
      {found ? <PlanChanges before={s.plan} after={found.plan} heads={[s.name, found.name]} /> : other ? <p class="soft">There is no plan {other}.</p> : null}
    </Section>
  );
}
