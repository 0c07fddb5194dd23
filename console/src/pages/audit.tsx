import "./audit.css";
import type { AuditEntry } from "../api";
import { acts, cameOf, hrefOf, wordsOf, type Came } from "../acts";
import { api } from "../client";
import { sentence } from "../format";
import { useDebounced, useList } from "../load";
import type { PageProps } from "../pages";
import { setQuery } from "../router";
import { Badge, Code, Empty, Field, Page, Select, Table, When, type Shape, type Tone } from "../ui";

const named = Object.entries(acts).map(([act, text]) => [act, text] as const).sort(([, a], [, b]) => a.localeCompare(b));

/** AuditPage lists who did what when, newest first; what was refused as well. */
export default function AuditPage({ query }: PageProps) {
  const [actor, act, target] = [query.get("actor") ?? "", query.get("act") ?? "", query.get("target") ?? ""];
  const asked = useDebounced(JSON.stringify({ ...(actor ? { actor } : {}), ...(act ? { act } : {}), ...(target ? { target } : {}) }));
  const found = useList<AuditEntry>(`audit ${asked}`, (after, signal) =>
    api.get("/api/v1/audit", { query: { ...(JSON.parse(asked) as object), limit: 50, ...(after ? { after } : {}) }, signal }));
  const filtered = asked !== "{}";
  const choices = act === "" || act in acts ? named : [...named, [act, act] as const];
  return (
    <Page title="Audit" lead="What people did, or tried to do, newest first." actions={<button type="button" onClick={found.again}>Look again</button>}>
      <div class="filters" role="search">
        <Field label="Who" type="search" search value={actor} onValue={(v) => setQuery({ actor: v })} placeholder="anybody" maxLength={200} />
        <Select label="Act" value={act} onValue={(v) => setQuery({ act: v })} options={[["", "anything"], ...choices]} />
        <Field label="To what" type="search" value={target} onValue={(v) => setQuery({ target: v })} placeholder="rollout ro-…" maxLength={200} />
      </div>
      <section class="card" aria-label="What was done">
        <Table label="What was done" rows={found.items} id={(e) => String(e.number)} list={found} noun={["entry", "entries"]}
          empty={filtered ? <Empty title="Nobody did such a thing"><button type="button" class="bare" onClick={() => setQuery({ actor: "", act: "", target: "" })}>Show everything</button></Empty>
            : <Empty title="Nothing was done yet">Every command is written down here with who gave it: in the console, on the command line, or by a script.</Empty>}
          columns={[
            { head: "Act", lead: true, cell: (e) => wordsOf(e.act, e.detail).what },
            { head: "To what", cell: (e) => <Target of={e.target} /> },
            { head: "Who", cell: (e) => <button type="button" class="bare audit-who long" title="Show only what this actor did" onClick={() => setQuery({ actor: e.actor })}>{e.actor || "nobody"}</button> },
            { head: "When", cell: (e) => <When at={e.at} quiet /> },
            { head: "What came of it", cell: (e) => <Outcome e={e} /> },
            { head: "Why", cell: (e) => { const { why } = wordsOf(e.act, e.detail); return why ? <span class="long small">{sentence(why)}</span> : null; } },
            { head: "Request", cell: (e) => <span class="audit-request"><Code text={e.request} what="the request's id" short={e.request.slice(0, 8)} /></span> },
          ]} />
      </section>
    </Page>
  );
}

function Target({ of }: { of: string }) {
  const to = hrefOf(of);
  const short = of.replace(/sha256:([0-9a-f]{12})[0-9a-f]{52}/g, "$1…");
  return to ? <a class="long" href={to}>{of}</a> : <span class="long" title={of}>{short}</span>;
}

const drawn: { [C in Came]: [Tone, Shape] } = { done: ["good", "good"], refused: ["harm", "stopped"], "not done": ["amber", "amber"], failed: ["harm", "harm"] };

function Outcome({ e }: { e: AuditEntry }) {
  const came = cameOf(e.status);
  const [tone, shape] = drawn[came];
  return <Badge tone={tone} shape={shape} title={`answered with ${e.status}`}>{came}{came === "done" ? "" : ` (${e.status})`}</Badge>;
}
