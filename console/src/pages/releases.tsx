import type { ComponentSpec, Release } from "../api";
import { api } from "../client";
import { digest, whole } from "../format";
import * as links from "../links";
import { useDebounced, useList } from "../load";
import type { PageProps } from "../pages";
import { href, setQuery } from "../router";
import { Badge, Code, Empty, Field, Page, Section, Table, When } from "../ui";

/** ReleasesPage lists components and their releases. */
export default function ReleasesPage({ query }: PageProps) {
  const typed = query.get("component") ?? "";
  const component = useDebounced(typed.trim());
  const components = useList<ComponentSpec>("components", (after, signal) => api.get("/api/v1/components", { query: { limit: 100, ...(after ? { after } : {}) }, signal }));
  const found = useList<Release>(`releases ${component}`, (after, signal) =>
    api.get("/api/v1/releases", { query: { limit: 50, ...(component ? { component } : {}), ...(after ? { after } : {}) }, signal }));
  const unknown = found.failure?.status === 404 || found.failure?.status === 400; // no such component: then it has no releases
  const alike = components.items.filter((c) => typed !== "" && c.name !== typed && c.name.includes(typed.trim()));
  const kinds = new Map(components.items.map((c) => [c.name, c.kind]));
  return (
    <Page title="Releases" lead="Immutable versions of components, signed by keys that the control plane does not hold.">
      <div class="filters" role="search">
        <Field label="Component" search type="search" value={typed} onValue={(v) => setQuery({ component: v })} placeholder="all" list="releases-components" />
        <datalist id="releases-components">{components.items.map((c) => <option key={c.name} value={c.name} />)}</datalist>
      </div>
      <Section title={component ? `Releases of ${component}` : "Releases"} id="releases" aside="by component, the newest first">
        <Table label="Releases" rows={found.items} id={(r) => `${r.component} ${r.version}`} list={unknown ? { ...found, failure: undefined, loading: false } : found} noun={["release", "releases"]}
          empty={typed ? <Empty title={`No release of ${typed}`}>{alike.length > 0 ? <p>Is it {alike.slice(0, 5).map((c, i) => <>{i > 0 ? ", " : ""}<a key={c.name} href={href("/releases", undefined, { component: c.name })}>{c.name}</a></>)}?</p> : null}<button type="button" class="bare" onClick={() => setQuery({ component: "" })}>Show all releases</button> or publish one: <Publish component={typed} /></Empty>
            : <First />}
          columns={[
            { head: "Release", lead: true, cell: (r) => <a class="long" href={links.release(r.component, r.version)}>{r.component} {r.version}</a> },
            { head: "State", cell: (r) => <ReleaseState r={r} /> },
            { head: "Validation", cell: (r) => (r.validated ? <Badge tone="good">validated</Badge> : <Badge tone="amber" shape="asked">no passing verdict</Badge>) },
            { head: "Kind", cell: (r) => kinds.get(r.component) ?? "" },
            { head: "Serial", end: true, cell: (r) => whole(r.serial) },
            { head: "Manifest", cell: (r) => <code title={r.manifest}>{digest(r.manifest)}</code> },
            { head: "Made", cell: (r) => <When at={r.created} quiet /> },
            { head: "Rollout", cell: (r) => (r.state === "recalled" ? <span class="soft small">not any more</span> : <a href={href("/rollouts", undefined, { start: true, component: r.component, version: r.version })} aria-label={`Start a rollout of ${r.component} ${r.version}`}>start</a>) },
          ]} />
      </Section>
      <Section title="Components" aside="what is updated as a unit">
        <Table label="Components" rows={components.items.filter((c) => !component || c.name === component)} id={(c) => c.name} list={components} noun={["component", "components"]}
          empty={<Empty title={component ? `There is no component ${component}` : "No component is registered yet"}>Write it down in <code>component.yaml</code>: <Code text={`{kind: Component, spec: {name: ${component || "sensor-content"}, kind: content, validation: none}}`} what="a component's file" /> and apply it: <Code text="firebreak apply -f component.yaml" what="the command that registers a component" /></Empty>}
          columns={[
            { head: "Component", lead: true, cell: (c) => <a class="long" href={href("/releases", undefined, { component: c.name })}>{c.name}</a> },
            { head: "Kind", cell: (c) => c.kind },
            { head: "Validation", cell: (c) => (c.validation === "none" ? <Badge tone="amber" shape="asked">not asked for</Badge> : <Badge tone="good">required</Badge>) },
            { head: "Plan", cell: (c) => (c.plan ? <a href={links.plan(c.plan)}>{c.plan}</a> : <span class="soft">named when it is published</span>) },
            { head: "Hosts", cell: (c) => <a href={links.hosts({ component: c.name })} aria-label={`its hosts: ${c.name}`}>its hosts</a> },
            { head: "Rollouts", cell: (c) => <a href={href("/rollouts", undefined, { component: c.name })} aria-label={`its rollouts: ${c.name}`}>its rollouts</a> },
          ]} />
      </Section>
    </Page>
  );
}

/** First is how the first release comes about. */
function First() {
  return (
    <Empty title="Nothing is published yet">
      <p>Where the keys are to be, which is not here:</p>
      <p><Code text="firebreak key init COMPONENT" what="the command that makes keys" /></p>
      <p><Publish component="COMPONENT" /></p>
      <p>It is validated, signed with your key, and uploaded. Nothing runs it until a rollout is started.</p>
    </Empty>
  );
}

const Publish = ({ component }: { component: string }) => <Code text={`firebreak release publish ${component} VERSION PATH`} what="the command that publishes a release" />;

/** ReleaseState is whether a release may run. */
function ReleaseState({ r }: { r: Release }) {
  return r.state === "recalled" ? <Badge tone="harm" title="it must not run again anywhere">recalled</Badge> : <Badge tone="good">published</Badge>;
}
