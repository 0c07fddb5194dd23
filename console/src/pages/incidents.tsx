import "./incidents.css";
import type { Incident } from "../api";
import { api } from "../client";
import { useCurrent } from "../current";
import * as links from "../links";
import { useList } from "../load";
import type { PageProps } from "../pages";
import { Badge, Empty, Icon, Old, Page, Section, Shown, Since, Table, When } from "../ui";

/** IncidentsPage lists incidents: those that are open first, because they need somebody. */
export default function IncidentsPage(_: PageProps) {
  const now = useCurrent("overview", (signal) => api.get("/api/v1/overview", { signal }));
  const open = Object.values(now.value?.incidents ?? {}).filter((i) => !i.closed).sort((a, b) => b.opened.localeCompare(a.opened));
  // The list is asked for again when an incident opens or is closed.
  const all = useList<Incident>(`incidents ${open.map((i) => i.id).join(" ")}`, (after, signal) => api.get("/api/v1/incidents", { query: { limit: 50, ...(after ? { after } : {}) }, signal }));
  const closed = all.items.filter((i) => i.closed);
  const none = !all.loading && !all.failure && all.items.length === 0 && !all.next;
  return (
    <Page title="Incidents" lead="Each is opened by itself when the breaker stops a release, or holds a part of the fleet.">
      {now.value && now.stale !== undefined ? <Old why={now.stale} /> : null}
      <Section title="Open">
        <Shown of={now} what="open incidents">{() => <Table label="Open incidents" rows={open} id={(i) => i.id} columns={[what, release, { head: "Opened", cell: (i) => <When at={i.opened} quiet /> }, { head: "Open for", cell: (i) => <Since from={i.opened} /> }]}
          empty={none ? <Empty title="There has been no incident yet">When the breaker stops a release, what happened is written down here: whom it reached, whom it harmed, and why.</Empty>
            : <p class="soft"><Icon shape="good" /> None is open.</p>} />}</Shown>
      </Section>
      {none ? null : (
        <Section title="Closed" aside="newest first">
          <Table label="Closed incidents" rows={closed} id={(i) => i.id} list={all} noun={["incident", "incidents"]} empty={<p class="soft">None was closed yet.</p>} columns={[
            what, release, { head: "Opened", cell: (i) => <When at={i.opened} quiet /> }, { head: "Closed", cell: (i) => <><When at={i.closed} quiet /><div class="long small soft">{i.closed_by ? `by ${i.closed_by}` : ""}</div></> }, { head: "Note", cell: (i) => (i.note ? <span class="long small">{i.note}</span> : null) },
          ]} />
        </Section>
      )}
    </Page>
  );
}

const what = {
  head: "Incident", lead: true,
  cell: (i: Incident) => <>{i.closed ? null : <><Badge tone="harm">open</Badge> </>}<a class="long" href={links.incident(i.id)}>{i.title}</a> <span class="soft small">{i.id}</span></>,
};

const release = {
  head: "Release",
  cell: (i: Incident) => <span class="incidents-release long"><a href={links.release(i.component, i.version)}>{i.component} {i.version}</a> <a class="small" href={links.rollout(i.rollout)}>rollout</a></span>,
};
